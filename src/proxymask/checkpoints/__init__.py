"""Checkpoints that others made: what a file is, and what it holds, without running anything it names.

``detect`` tells a file by its first bytes, ``unpickle`` reads pickles, ``torchfile`` what ``torch.save`` writes. Nothing is imported
here, so that telling what a file is need not wait for PyTorch.
"""
