"""Generator files of other projects: what a file is, opening it, writing one. Nothing that a file names is imported or called.

* ``identify.py``: what a file is, by its first bytes. Needs no PyTorch.
* ``safe_pickle/``: reads pickles and ``torch.save`` files without executing them, within bounds on time and memory.
* ``formats/``: one module for each family of checkpoints (NVIDIA, rosinality, genforce, our own folders).
* ``loading.py``: :func:`~.loading.open_checkpoint`, from a file to this package's generator.
* ``imported.py``: the opened checkpoint, and :func:`~.imported.save_import`.
* ``export.py``: a generator in the layout of another project.
"""
