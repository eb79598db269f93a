"""Reads pickles and what ``torch.save`` writes without executing them.

Source of the format: Python's ``pickletools`` (opcodes), PyTorch's ``torch/serialization.py`` (containers) and ``torch/_utils.py``
(how tensors are rebuilt), numpy's ``multiarray`` (how arrays are rebuilt), NVIDIA's ``torch_utils/persistence.py``.

Guarantees, for any bytes at all:

* No name in a file is imported, looked up or called. The few on the allowlist are replaced by functions of this package.
* Everything else becomes an inert object (:mod:`.inert`): the class's name and the values in the file.
* Time and memory are bounded by :class:`~.budget.Limits`; nothing recurses with the depth of the data.
* A file is read or refused with a :class:`~proxymask.core.errors.ProxymaskError` of one line; no other error leaves this package.
* Tensors are on the CPU, lie within their storage and show no element twice; a tensor of an unknown type stays inert.
"""
