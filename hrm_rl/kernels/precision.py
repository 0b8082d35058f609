"""The dtype of arithmetic, and the speed of bfloat16 on this machine."""

import functools
import time
import warnings

import torch


def wide(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 for float64 (which is for gradient checks and exact references)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@functools.cache
def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 at least half as fast as float32.

    A CPU without bfloat16 instructions emulates it tens of times slower. Measured by a few small products on
    one thread, which other processes disturb least.
    """
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        single, half = (_product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    finally:
        torch.set_num_threads(threads)
    return half < 2 * single


def _product_seconds(dtype: torch.dtype, width: int = 192) -> float:
    """The fastest of a few products of two square matrices on the CPU."""
    a, times = torch.ones(width, width, dtype=dtype), []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return min(times)


@functools.cache
def warn_of_emulation(dtype: torch.dtype, device: str) -> None:
    """Warn, once a process, if a CPU emulates the dtype to compute in."""
    if device == "cpu" and dtype == torch.bfloat16 and not has_fast_bfloat16():
        warnings.warn(
            "this CPU has no instructions for bfloat16 and emulates it, many times slower than float32: "
            "--dtype float32 avoids that, in Python forward_dtype='float32' in the model's config or "
            "to from_pretrained",
            stacklevel=4,
        )
