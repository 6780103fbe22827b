"""`nsbuild system service`: Docker's and Podman's API about images and containers, on a socket.

What programs such as qubes-builder v2 ask of those two is here in terms of nsbuild's own verbs. The
service runs no container itself. Whatever changes something is a verb of the command line in a
process of its own (`verbs.py`), so a killed service leaves all containers running, and what the
verb would say is what the client is told; only reading is done here.
"""
