"""Time the Triton kernels on a GPU against PyTorch's own operations and torch.compile.

    python benchmarks/kernels.py [--shape 768x82 ...] [--rounds 7] [--sweep] > rows.jsonl

One JSON object a line, written as it is measured, in the form of `hrm-rl bench`: seconds of `ours` and
`other` (medians over rounds), `ratio` = how many times faster ours is (median of the rounds' ratios),
their `spread` (least and most) and `cpu_share` (1 on a GPU). The two sides run alternately. The rows:

    NAME.*.eager      a kernel against PyTorch's own operations for the same work
    NAME.*.compiled   against torch.compile of them: a fusion is kept from 1.05 on
    NAME.*.matmul     against the plain product of the same shape (cuBLAS), which does less
    module.*          a whole gradient-free call of four blocks, also both in CUDA graphs
    tile.*            --sweep: another tile size against the one that `fused.tiles` chooses

A row that fails holds `name` and `error`; the others still run unless the device is lost, and the exit code
is 1.

Both sides of a row do the same work, including what torch.compile fuses into the end of a product and the
norm behind the residual; row kernels run forward and backward. `--dry-run` runs every row once on tiny
shapes, on any device, without compiling.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from kernel_cases import Case, Pair, Work, make_case, module_call, products, row_kernels

from hrm_rl.bench.timing import Samples, ratio_row
from hrm_rl.kernels import dispatch
from hrm_rl.kernels.fused.tiles import Tile
from hrm_rl.kernels.graphs import CudaRecorder
from hrm_rl.model.recurrence import block

# Duration of one side of a round in seconds: long beside the clock's resolution and a launch.
ROUND_SECONDS = 0.02


@dataclass(frozen=True)
class Bench:
    """How rows are timed."""

    rounds: int
    modes: tuple[str, str] = ("triton", "eager")
    """HRM_KERNELS for ours and for the other side."""
    dry: bool = False

    def rows(self, case: Case, sweep: bool) -> Iterator[dict[str, Any]]:
        # The last row left the other side's mode.
        os.environ[dispatch.VARIABLE] = self.modes[0]
        with torch.no_grad():
            for pair in products(case):
                yield from self._pair(case, pair)
                if sweep:
                    yield from self._tiles(case, pair)
            yield from self._module(case)
        for pair in row_kernels(case):
            yield from self._pair(case, pair)

    def _pair(self, case: Case, pair: Pair) -> Iterator[dict[str, Any]]:
        name, ours = f"{pair.name}.{case.name}", pair.ours
        yield self._row(f"{name}.eager", lambda: (ours, pair.other), "eager")
        compiled = partial(self._compiled, pair.other)
        yield self._row(f"{name}.compiled", lambda: (ours, compiled()), "compiled")
        if (matmul := pair.matmul) is not None:
            yield self._row(f"{name}.matmul", lambda: (ours, matmul), "the product alone")

    def _module(self, case: Case) -> Iterator[dict[str, Any]]:
        name = f"module.{case.name}"
        ours, eager = module_call(case, block)
        yield self._row(f"{name}.eager", lambda: (ours, eager), "eager")
        _, compiled = module_call(case, self._compiled(block))
        yield self._row(f"{name}.compiled", lambda: (ours, compiled), "compiled")
        if case.rotary.is_cuda:
            yield self._row(
                f"{name}.graphs",
                lambda: (_captured(ours, self.modes[0]), _captured(compiled, self.modes[1])),
                "compiled, both in CUDA graphs",
            )

    def _tiles(self, case: Case, pair: Pair) -> Iterator[dict[str, Any]]:
        """Other tiles against the chosen one, except those that do not fit the GPU."""
        for rows, columns, stages in itertools.product((64, 128), (64, 128), (2, 3, 4)):
            tile = Tile(rows, columns, 64, 8 if rows * columns >= 128 * 64 else 4, stages)
            other = partial(pair.ours, tile=tile)
            try:
                other()
            except Exception as error:  # OutOfResources, whose module depends on Triton's version
                print(f"{tile}: {error}", file=sys.stderr)
                continue
            name = f"tile.{pair.name}.{case.name}.{rows}x{columns}x{stages}"

            def sides(other: Work = other) -> tuple[Work, Work]:
                return pair.ours, other

            yield self._row(name, sides, f"{tile}")

    def _compiled(self, work: Callable[..., Any]) -> Callable[..., Any]:
        torch._dynamo.reset()  # so that no row reaches the limit of recompilations
        return torch.compile(work, dynamic=False, backend="eager" if self.dry else "inductor")

    def _row(self, name: str, make: Callable[[], tuple[Work, Work]], against: str) -> dict[str, Any]:
        """Time the two sides that `make` returns; on failure the row holds the error."""
        try:
            return self._timed(name, make, against)
        except Exception as error:  # compilers raise many kinds; the other rows still run
            _wait()  # raises if the device is lost
            return {"name": name, "error": f"{type(error).__name__}: {error}"[:400]}

    def _timed(self, name: str, make: Callable[[], tuple[Work, Work]], against: str) -> Any:
        sides = list(zip(make(), self.modes, strict=True))
        counts = [_calls(work, mode) for work, mode in sides]
        times = [
            [_seconds(work, mode, n) for (work, mode), n in zip(sides, counts, strict=True)]
            for _ in range(self.rounds)
        ]
        return ratio_row(name, *(Samples(side) for side in zip(*times, strict=True)), against)


def _calls(work: Work, mode: str) -> int:
    """Calls that last about ROUND_SECONDS, after warming up (and compiling)."""
    _seconds(work, mode, 3)
    return max(1, min(1000, round(ROUND_SECONDS / _seconds(work, mode, 3))))


def _seconds(work: Work, mode: str, calls: int) -> float:
    """Seconds per call, the mean of `calls` in sequence."""
    os.environ[dispatch.VARIABLE] = mode
    _wait()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _wait()
    return (time.perf_counter() - start) / calls


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _captured(work: Work, mode: str) -> Work:
    """The same work as one CUDA graph."""
    recorder = CudaRecorder(torch.device("cuda"))
    with dispatch.forced(mode):
        recorder.warm_up(work)
        return recorder.record(work)[1]


def _shape(text: str) -> tuple[int, int]:
    batch, _, tokens = text.partition("x")
    if not (batch.isdigit() and tokens.isdigit() and int(batch) and int(tokens)):
        raise argparse.ArgumentTypeError(f"a shape is BATCHxTOKENS, such as 768x82; got {text!r}")
    return int(batch), int(tokens)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the Triton kernels on a GPU.")
    parser.add_argument(
        "--shape",
        type=_shape,
        nargs="+",
        default=[(768, 82), (96, 901), (8, 82)],
        help="BATCHxTOKENS, one or more",
    )
    parser.add_argument("--width", type=int, default=512, help="hidden size, a multiple of 64")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds a row, 5 or more")
    parser.add_argument("--sweep", action="store_true", help="time other tile sizes too")
    parser.add_argument("--dry-run", action="store_true", help="every row on tiny shapes, anywhere")
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error(f"--rounds must be >= 5, got {options.rounds}")
    if options.width % 64 or not 64 <= options.width <= 1024:
        parser.error(f"--width must be a multiple of 64 up to 1024, got {options.width}")
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not options.dry_run:
        print("benchmarks/kernels.py needs a CUDA device; --dry-run goes without", file=sys.stderr)
        return 2
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    bench, shapes, width = Bench(options.rounds), options.shape, options.width
    if options.dry_run:
        modes = bench.modes if on_gpu else (dispatch.mode(), dispatch.mode())
        bench, shapes, width = Bench(1, modes, dry=True), [(2, 5)], 64
    what = torch.cuda.get_device_name() if on_gpu else "cpu"
    _print({"device": what, "torch": torch.__version__, "dry_run": options.dry_run})
    torch.manual_seed(0)
    failed = False
    for batch, tokens in shapes:
        case = make_case(batch, tokens, width, device, dtype)
        for row in bench.rows(case, options.sweep):
            _print(row)
            failed |= "error" in row
    return int(failed)


def _print(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
