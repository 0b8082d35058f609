"""Memory per row that the backward pass keeps, counted without computing: JSON lines.

    python benchmarks/memory.py [--hidden 512] [--tokens 81] [--layers 4] [--cycles 1 2 4] [--segments 4]

By default for the 27M-parameter model in bfloat16 with fused attention. `one-step` is the paper's gradient
(the last call of L and of H), `last-cycle` the whole last H-cycle, `full` every call of a segment, each with
one backward pass a segment (deep supervision); `through-time` has a single one at the end of the episode,
through every call of every segment. Cycles are H_cycles = L_cycles; a segment runs cycles * (cycles + 1)
modules. Episodes of several segments are counted at two cycles.
"""

import argparse
import json

from hrm_rl.model import HRMConfig
from hrm_rl.model.recurrence import Gradient
from hrm_rl.training.machine.memory import kept_per_row

WAYS: dict[str, tuple[Gradient, bool]] = {
    "one-step": ("one-step", False),
    "last-cycle": ("last-cycle", False),
    "full": ("full", False),
    "through-time": ("full", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=512, help="hidden size, a multiple of 64")
    parser.add_argument("--tokens", type=int, default=81, help="cells of a puzzle")
    parser.add_argument("--layers", type=int, default=4, help="blocks of each module")
    parser.add_argument("--cycles", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--segments", type=int, nargs="+", default=[4])
    args = parser.parse_args()
    cases = [(cycles, 1) for cycles in args.cycles] + [(2, segments) for segments in args.segments]
    for cycles, segments in cases:
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
    main()
