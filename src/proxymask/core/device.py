"""Choice of device and of precision, in one place."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from .errors import ProxymaskError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
M = TypeVar("M", bound=nn.Module)


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """``auto``: CUDA, else MPS, else the CPU.

    Raises:
        ProxymaskError: an unknown name, or a device that is not available.
    """
    if isinstance(name, str) and name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ProxymaskError(f"--device {name}: unknown; use auto, cpu, cuda (cuda:1 for the second one) or mps")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ProxymaskError("--device cuda: this PyTorch sees no CUDA device; use --device cpu or install a CUDA build of torch")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ProxymaskError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ProxymaskError("--device mps: this PyTorch sees no Apple GPU; use --device cpu")
    return device


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX on x86, the bf16 extension on ARM)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: unknown
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def resolve_precision(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The autocast dtype of a precision, or of float32 and bfloat16 themselves. ``auto``: bfloat16 if the hardware has it, else float32.

    Raises:
        ProxymaskError: another precision.
    """
    if name in ("fp32", torch.float32):
        return torch.float32
    if name in ("bf16", torch.bfloat16):
        return torch.bfloat16
    if name != "auto":
        raise ProxymaskError(f"--precision {name}: unknown; use auto, fp32 or bf16")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    return torch.float32


def to_device(module: M, device: torch.device) -> M:
    """Move ``module`` to ``device``, in place, in the channels-last memory format; returns it.

    In that format most convolutions are faster, on CPUs up to twice. On MPS the format stays as it is.
    """
    module.to(device)
    if device.type != "mps":
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to ``dtype``; an empty context for float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
