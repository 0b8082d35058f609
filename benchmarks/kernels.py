"""Time the Triton kernels on a GPU against PyTorch's own operations and torch.compile.

    python benchmarks/kernels.py [--shape 768x82 ...] [--rounds 7] > rows.jsonl

One JSON object a line, written as it is measured, in the form of `hrm-rl bench`: seconds of `ours` and
`other` (medians over rounds), `ratio` = how many times faster ours is (median of the rounds' ratios),
their `spread` (least and most) and `cpu_share` (1 on a GPU). The two sides run alternately. The rows:

    NAME.*.eager      a kernel against PyTorch's own operations for the same work
    NAME.*.compiled   against torch.compile of them

A row that fails holds `name` and `error`; the others still run unless the device is lost, and the exit code
is 1.

Kernels of rows run forward and backward. AdamATan2 steps the matrices of a model of eight blocks once, on
whatever shapes; eager with its numbers on the host, in grouped operations, the others with them on the
device. `--dry-run` runs every row once on tiny shapes, on any device, without compiling.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hrm_rl.bench.timing import Samples, ratio_row
from hrm_rl.kernels import dispatch
from hrm_rl.kernels.adam_atan2 import adam_atan2_
from hrm_rl.kernels.rms_norm import add_rms_norm
from hrm_rl.kernels.rope import rope
from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.kernels.swiglu import swiglu
from hrm_rl.model.layers import rotary_tables

# Duration of one side of a round in seconds: long beside the clock's resolution and a launch.
ROUND_SECONDS = 0.02
EPS = 1e-5
HEAD_DIM, VOCABULARY, BLOCKS = 64, 11, 8

Work = Callable[[], Any]


# --- the cases ------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A kernel's work; HRM_KERNELS chooses the implementation when it runs."""

    name: str
    ours: Work
    eager: Work
    traced: Work
    """What torch.compile takes."""


def inner_width(width: int) -> int:
    """Of a SwiGLU, as in the model."""
    return -(-round(width * 8 / 3) // 256) * 256


def row_kernels(batch: int, tokens: int, width: int, device: str, dtype: torch.dtype) -> Iterator[Case]:
    """The row kernels, forward and backward."""
    rows = batch * tokens

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, device=device).to(dtype).requires_grad_()

    labels = torch.randint(VOCABULARY, (rows,), device=device)
    tables = rotary_tables(tokens, HEAD_DIM, 10000.0).to(device)
    heads = (batch, tokens, width // HEAD_DIM, HEAD_DIM)
    for name, run, leaves in (
        ("add_rms_norm", partial(add_rms_norm, eps=EPS), [random(rows, width), random(rows, width)]),
        ("swiglu", swiglu, [random(rows, 2 * inner_width(width))]),
        ("rope", partial(rope, tables=tables), [random(*heads), random(*heads)]),
        ("stablemax", partial(stablemax_cross_entropy, labels=labels), [random(rows, VOCABULARY)]),
    ):
        both = _forward_and_backward(run, leaves)
        yield Case(f"{name}.h{width}.s{tokens}.b{batch}", both, both, both)


def _forward_and_backward(run: Callable[..., Any], leaves: list[Tensor]) -> Work:
    grads: list[Tensor] = []

    def both() -> Any:
        outputs = run(*leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        if not grads:  # at the first call, so that a failing kernel fails in its own row
            grads.extend(torch.ones_like(y) for y in outputs)
        return torch.autograd.grad(outputs, leaves, grads)

    return both


def optimizer_step(width: int, device: str) -> Case:
    """A step of AdamATan2 on float32 weights."""
    inner = inner_width(width)
    block = ((3 * width, width), (width, width), (2 * inner, width), (width, inner))

    def step(numbers: str) -> Work:
        params, grads = ([torch.randn(s, device=device) for s in block * BLOCKS] for _ in range(2))
        moments, squares = ([torch.zeros_like(p) for p in params] for _ in range(2))
        steps = [torch.zeros((), device=numbers) for _ in params]
        lr = 1e-4 if numbers == "cpu" else torch.tensor(1e-4, dtype=torch.float64, device=numbers)
        lists = (params, grads, moments, squares, steps)
        return lambda: adam_atan2_(*lists, lr=lr, betas=(0.9, 0.95), weight_decay=0.1)

    return Case(f"adam_atan2.h{width}", step(device), step("cpu"), step(device))


# --- timing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """How rows are timed."""

    rounds: int
    modes: tuple[str, str] = ("triton", "eager")
    """HRM_KERNELS for ours and for the other side."""
    dry: bool = False

    def rows(self, case: Case) -> Iterator[dict[str, Any]]:
        yield self._row(f"{case.name}.eager", lambda: (case.ours, case.eager), "eager")
        yield self._row(f"{case.name}.compiled", lambda: (case.ours, self._compiled(case.traced)), "compiled")

    def _compiled(self, work: Work) -> Work:
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
    with dispatch.forced(mode):
        _wait()
        start = time.perf_counter()
        for _ in range(calls):
            work()
        _wait()
        return (time.perf_counter() - start) / calls


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
    parser.add_argument("--dry-run", action="store_true", help="every row on tiny shapes, anywhere")
    options = parser.parse_args()
    if options.rounds < 5:
        parser.error(f"--rounds must be >= 5, got {options.rounds}")
    if options.width % HEAD_DIM or not HEAD_DIM <= options.width <= 1024:
        parser.error(f"--width must be a multiple of {HEAD_DIM} up to 1024, got {options.width}")
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
    for case in cases(shapes, width, device, dtype):
        for row in bench.rows(case):
            _print(row)
            failed |= "error" in row
    return int(failed)


def cases(shapes: list[tuple[int, int]], width: int, device: str, dtype: torch.dtype) -> Iterator[Case]:
    yield optimizer_step(width, device)
    for batch, tokens in shapes:
        yield from row_kernels(batch, tokens, width, device, dtype)


def _print(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
