"""Attention of the rearranger's sizes: the fused kernel against plain products, forwards and with gradients.

    OMP_NUM_THREADS=1 python benchmarks/attention_speed.py

On a CPU the fused kernel multiplies bfloat16 without the processor's own instructions for it; `proxymask.layers.attention` does not use
it there. Processor time, medians; sizes take turns, so that a slow moment falls on all of them.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from proxymask.layers import attention

# batch, queries, keys, dim, width of the values
SIZES = [(1, 1024, 1408, 128, 67), (1, 1024, 1024, 128, 67), (1, 1024, 384, 128, 67), (8, 1024, 1024, 128, 67), (1, 4096, 4096, 608, 515)]
ROUNDS = 7


def fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``F.scaled_dot_product_attention``, the values padded to the keys' width, which its fast kernel wants."""
    width = value.shape[-1]
    value = F.pad(value, (0, max(0, query.shape[-1] - width)))
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0, :, :width]


def main() -> None:
    jobs: dict[str, Callable[[], object]] = {}
    for batch, queries, keys, dim, width in SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            shapes = ((batch, queries, dim), (batch, keys, dim), (batch, keys, width))
            given = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]

            def forwards(run: Callable[..., torch.Tensor], given: list[torch.Tensor] = given) -> None:
                with torch.inference_mode():
                    run(*given)

            def both(run: Callable[..., torch.Tensor], given: list[torch.Tensor] = given) -> None:
                run(*given).sum().backward()

            for name, run in (("fused", fused), ("attention", attention)):
                label = f"{batch} x {queries} x {keys}, {dim} wide, {str(dtype).removeprefix('torch.')}, {name}"
                jobs[label] = lambda forwards=forwards, run=run: forwards(run)
                if batch > 1:
                    jobs[f"{label}, gradients too"] = lambda both=both, run=run: both(run)
    times: dict[str, list[float]] = {label: [] for label in jobs}
    for index in range(ROUNDS + 1):
        for label, job in jobs.items():
            began = time.process_time()
            job()
            if index:
                times[label].append(time.process_time() - began)
    for label, values in times.items():
        print(f"{label:70s} {statistics.median(values) * 1000:9.2f} ms")


if __name__ == "__main__":
    main()
