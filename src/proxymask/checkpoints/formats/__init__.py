"""One module for each family of checkpoints: from the names and shapes in its files to this package's networks.

``nvidia``, ``tensorflow``, ``rosinality`` and ``genforce`` have ``read(contents) -> Conversion | None``: None where the contents are not
of the family. Nothing here opens files: contents arrive as plain containers, tensors and inert objects. ``native`` reads this package's
own folders.

Guarantee: every tensor of a network is used, or named as one that is not needed; a tensor that is missing, left over or of another
shape is an error. So a network that opens is the whole network.

Legend of shapes: C_in and C_out are channels, k the side of a kernel, w_dim, z_dim and c_dim the widths of w, z and of the one-hot class,
(h, w) the size of the start block, which is (4, 4) for square pictures. Weights of this package are (C_out, C_in, k, k) and (out, in).
"""
