"""One module a family of checkpoints: from the names and shapes in its files to this package's networks.

Each has ``read(found) -> Found | None``: None where the file is not of its family. Nothing here opens files; what a file holds
arrives as plain containers, tensors and inert records.
"""
