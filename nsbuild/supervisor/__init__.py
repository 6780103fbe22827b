"""The supervisor: answers what the filter notifies, outside of the container's namespaces.

It runs on the guest's CPU at a higher priority, so that an answer costs two context switches on one
CPU and nothing of the guest can run between a call's entry and its receipt.
"""
