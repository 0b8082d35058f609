"""Memory per row that the backward pass keeps, counted without computing: JSON lines.

    python benchmarks/memory.py [--hidden 512] [--tokens 81] [--layers 4] [--cycles 1 2 4] [--segments 4]

By default for the 27M-parameter model in bfloat16 with fused attention. `one-step` is the paper's gradient
(the last call of L and of H), `last-cycle` the whole last H-cycle, `full` every call of a segment, each with
one backward pass a segment (deep supervision); `through-time` has a single one at the end of the episode,
through every call of every segment. Cycles are H_cycles = L_cycles; a segment runs cycles * (cycles + 1)
modules. Episodes of several segments are counted at two cycles.
"""

import json
from dataclasses import dataclass

import tyro

from hrm_rl.model import HRMConfig
from hrm_rl.model.recurrence import Gradient
from hrm_rl.training.machine.memory import kept_per_row

WAYS: dict[str, tuple[Gradient, bool]] = {
    "one-step": ("one-step", False),
    "last-cycle": ("last-cycle", False),
    "full": ("full", False),
    "through-time": ("full", True),
}


@dataclass(frozen=True)
class Args:
    """Settings."""

    hidden: int = 512
    """Hidden size, a multiple of 64."""
    tokens: int = 81
    """Cells of a puzzle."""
    layers: int = 4
    """Blocks of each module."""
    cycles: tuple[int, ...] = (1, 2, 4)
    """H_cycles = L_cycles of one segment."""
    segments: tuple[int, ...] = (4,)
    """Segments of an episode of two cycles."""


def main(args: Args) -> None:
    for cycles, segments in [(c, 1) for c in args.cycles] + [(2, s) for s in args.segments]:
        config = HRMConfig(
            vocab_size=11,
            seq_len=args.tokens,
            hidden_size=args.hidden,
            num_heads=args.hidden // 64,
            H_layers=args.layers,
            L_layers=args.layers,
            H_cycles=cycles,
            L_cycles=cycles,
        )
        for name, (gradient, at_once) in WAYS.items():
            if at_once and segments == 1:
                continue  # the same as `full`
            kept = kept_per_row(config, gradient, segments=segments, at_once=at_once)
            row = {"gradient": name, "cycles": cycles, "segments": segments}
            print(json.dumps(row | {"bytes_per_row": kept}), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
