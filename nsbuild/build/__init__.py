"""Images from Containerfiles: what `nsbuild build` does.

`containerfile` and `expand` read the file, `ignore` and `context` choose what of the context goes
into an image, `files` puts it there. `draft` is an image in the making, `builder` does one
instruction after the other, `cache` remembers what came of it. All this stands above `images` and
`container`, which know nothing of each other.
"""
