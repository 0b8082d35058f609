"""What all tests share: one thread, no window, no hurry.

The numeric libraries read the thread counts once, when they are first imported, so they are set
here, before any test module is. Tensors in the tests are small: more threads buy nothing, and two
OpenMP threads that share a busy core wait for one another, which is many times slower than one.
A value already in the environment wins.
"""

import os

for _variable in (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402

try:
    from hypothesis import settings
except ImportError:  # the dev extra has it; tests that use it skip themselves
    pass
else:
    # A loaded machine is no failing example.
    settings.register_profile("hrm_rl", parent=settings(), deadline=None)
    settings.load_profile("hrm_rl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked gpu where there is no CUDA device; torch loads only if something is."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
