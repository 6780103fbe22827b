"""Images from Containerfiles: what `nsbuild build` does.

`containerfile` and `expand` read the file, `ignore` and `context` choose what of the context goes
into an image, `merged` looks into the layers below, `steps` does one instruction after the other.
It stands above `images` and `container`, which know nothing of each other.
"""
