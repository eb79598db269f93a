"""Recognising that memory ran out, which every library says in its own way. Imports no PyTorch."""

import errno

_SAID = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # PyTorch on a CPU
    "not enough memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "Invalid buffer size",
    "Storage size calculation overflowed",
    "unable to mmap",
    "failed to map segment",  # of a library that is loaded
    "can't start new thread",  # Python, which needs memory for the thread's stack
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a CPU or a GPU."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError | ImportError) and (
        type(error).__name__ == "OutOfMemoryError" or any(said in str(error) for said in _SAID)
    )


def is_of_gpu(error: BaseException) -> bool:
    """Whether it was the memory of a GPU."""
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or any(word in text for word in ("CUDA", "CUBLAS", "CUDNN", "MPS"))
