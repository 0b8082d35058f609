"""Memory that the row kernels must not touch, on any device; `row_checks.py` runs this with the others."""

import math
from collections.abc import Iterator

import torch
from check_tools import EPS, Check, random
from torch import Tensor

from hrm_rl.kernels.triton import rms_norm as rms_norm_triton
from hrm_rl.kernels.triton import rope as rope_triton
from hrm_rl.kernels.triton import stablemax as stablemax_triton
from hrm_rl.kernels.triton import swiglu as swiglu_triton
from hrm_rl.kernels.triton.launching import accumulator, launch

# The tensors have four rows more than the kernels are given; a tile of two rows reaches into them.
ROWS, SPARE, WIDTH = 5, 4, 24


def untouched(device: str = "cpu") -> Iterator[Check]:
    """Count elements that should have been written and were not, and the reverse."""

    def filled(*shape: int) -> Tensor:
        return random(ROWS + SPARE, *shape).float().to(device)

    def room(*shape: int) -> Tensor:
        return torch.full((ROWS + SPARE, *shape), math.nan, device=device)

    x, half, one = filled(WIDTH), filled(WIDTH // 2), filled().abs() + 1
    labels = torch.zeros(ROWS + SPARE, dtype=torch.int64, device=device)
    tables = random(2, ROWS + SPARE, WIDTH).float().to(device)
    tile = {"WIDTH": WIDTH, "ROWS": 2, "COLUMNS": 32, "ACC": accumulator(torch.float32)}
    narrow = tile | {"WIDTH": WIDTH // 2, "COLUMNS": 8}
    turn = {"HEADS": 1, "HALF": WIDTH // 2, "INVERSE": False, "COLUMNS": 16}
    turn |= {name: tile[name] for name in ("ROWS", "ACC")}
    strides = (x.numel(), WIDTH, WIDTH) * 2
    norm, gate, loss = rms_norm_triton, swiglu_triton, stablemax_triton
    # kernel, tensors read, tensors written, arguments after those, constants
    launches = {
        "rms_forward": (
            *(norm.add_rms_norm_forward, [x, x], [room(WIDTH), room()]),
            *((ROWS,), tile | {"EPS": EPS}),
        ),
        "rms_backward": (norm.rms_norm_backward, [x, x, one], [room(WIDTH)], (ROWS,), tile),
        "swiglu_forward": (gate.swiglu_forward, [x], [room(WIDTH // 2)], (ROWS,), narrow),
        "swiglu_backward": (gate.swiglu_backward, [half, x], [room(WIDTH)], (ROWS,), narrow),
        "stablemax_forward": (
            *(loss.stablemax_forward, [x, labels], [room(), room(), room()]),
            *((ROWS,), tile | {"TERMS": 8}),
        ),
        "stablemax_backward": (
            *(loss.stablemax_backward, [one, x, labels, one, one], [room(WIDTH)]),
            *((ROWS,), tile),
        ),
        "rope": (
            *(rope_triton.rope, [x, x], [room(WIDTH), room(WIDTH)]),
            *((tables, ROWS, ROWS + SPARE, *strides), turn),
        ),
    }
    for name, (kernel, read, written, more, constants) in launches.items():
        grid = (3, 2) if name.startswith(("swiglu", "rope")) else (3,)
        launch(kernel, grid, x.device, *read, *written, *more, **constants)
        missed = sum(int(out[:ROWS].isnan().sum()) for out in written)
        spoilt = sum(int((~out[ROWS:].isnan()).sum()) for out in written)
        yield Check(f"{name}.untouched", float(missed + spoilt), 0.0)
