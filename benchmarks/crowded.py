"""Training steps and segments beside a busy process, with and without our settings of OpenMP.

    python benchmarks/crowded.py             # a table; --json for one JSON object on stdout

The script starts the neighbour itself: a process that is always busy, on one processor. Measured is the
preset sudoku-4x4: a training step, and a segment of 256 rows as `eval`, `trace` and `compare` run it. Rounds
are interleaved, quiet and beside the neighbour, and figures are medians over rounds.

- ours: threads that wait for one another spin as long as `hrm-rl` lets them (`hrm_rl.process.SPINS`);
- default: as long as OpenMP lets them;
- one: one thread, which training takes by itself where it stays faster beside the neighbour.

`--variables GOMP_SPINCOUNT=1000 OMP_WAIT_POLICY=PASSIVE` measures other settings too.
"""

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tyro

from hrm_rl.process import SPINS

WORKS = ("step", "segment")
_MINE = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_NEIGHBOUR = "while True: pass"


@dataclass(frozen=True)
class Args:
    """Settings; the defaults take two minutes."""

    rounds: int = 7
    """Rounds, each quiet and beside the neighbour."""
    seconds: float = 2.0
    """Seconds of each measurement; at least one repetition."""
    neighbours: int = 1
    """Busy processes."""
    threads: int | None = None
    """Threads of the CPU; by default all that this process may use."""
    variables: tuple[str, ...] = ()
    """Further environments to measure, NAME=VALUE each."""
    json: bool = False
    """One JSON object on stdout instead of the table."""


def main(args: Args) -> None:
    threads = args.threads or len(os.sched_getaffinity(0))
    ways: dict[str, tuple[int, dict[str, str]]] = {
        "ours": (threads, {"GOMP_SPINCOUNT": SPINS}),
        "default": (threads, {}),
        "one": (1, {}),
    }
    ways |= {given: (threads, dict([given.split("=", 1)])) for given in args.variables}
    times: dict[tuple[str, str, bool], list[float]] = {}
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(_worker(*given)) for way, given in ways.items()}
        for number in range(args.rounds):
            for busy in (False, True):
                with _neighbours(args.neighbours if busy else 0):
                    for way, measure in workers.items():
                        for work in WORKS:
                            times.setdefault((way, work, busy), []).append(measure(work, args.seconds))
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    rows = [_row(way, work, times) for way in ways for work in WORKS]
    result = {"threads": threads, "neighbours": args.neighbours, "rounds": args.rounds, "rows": rows}
    print(json.dumps(result) if args.json else _table(result))


def _row(way: str, work: str, times: dict[tuple[str, str, bool], list[float]]) -> dict[str, Any]:
    quiet, beside = times[way, work, False], times[way, work, True]
    plain = times["default", work, False]
    return {
        "way": way,
        "work": work,
        "quiet_seconds": statistics.median(quiet),
        "beside_seconds": statistics.median(beside),
        "beside_over_quiet": statistics.median(b / q for b, q in zip(beside, quiet, strict=True)),
        "quiet_over_default": statistics.median(q / p for q, p in zip(quiet, plain, strict=True)),
    }


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['threads']} threads, {result['neighbours']} busy neighbour(s), medians"]
    lines.append(f"{'':28} {'quiet':>9} {'beside':>9} {'beside / quiet':>15} {'quiet / default quiet':>22}")
    for row in result["rows"]:
        name = f"{row['work']}, {row['way']}"
        lines.append(
            f"{name:28} {row['quiet_seconds']:>7.3f} s {row['beside_seconds']:>7.3f} s "
            f"{row['beside_over_quiet']:>15.2f} {row['quiet_over_default']:>22.2f}"
        )
    return "\n".join(lines)


@contextlib.contextmanager
def _neighbours(count: int) -> Iterator[None]:
    found = [subprocess.Popen([sys.executable, "-c", _NEIGHBOUR]) for _ in range(count)]
    try:
        time.sleep(0.3 if found else 0.0)  # until they are busy
        yield
    finally:
        for process in found:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _worker(threads: int, variables: dict[str, str]) -> Iterator[Callable[[str, float], float]]:
    """A process with these variables; the function measures a work there, in seconds."""
    environment = {name: value for name, value in os.environ.items() if name not in _MINE} | variables
    command = [sys.executable, __file__, "--worker", str(threads)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        writes, reads = process.stdin, process.stdout

        def measure(work: str, seconds: float) -> float:
            writes.write(f"{work} {seconds}\n")
            writes.flush()
            return float(reads.readline())

        try:
            yield measure
        finally:
            process.kill()


def work(threads: int) -> None:
    """Measure what stdin names, line by line, until it closes."""
    import torch

    from hrm_rl.agents import HRMAgent, Learner
    from hrm_rl.model import HRM
    from hrm_rl.training.machine.fixed_step import fixed_observation, fixed_step, random_tokens
    from hrm_rl.training.presets import find_preset

    torch.set_num_threads(threads)
    preset = find_preset("sudoku-4x4")
    config = dataclasses.replace(preset.model, forward_dtype="float32")
    torch.manual_seed(0)
    model = HRM(config)
    inputs = random_tokens(config, 256)
    obs = fixed_observation(inputs, 1)
    agent = HRMAgent(HRM(config).eval(), "fixed:1")
    learner = Learner(model, len(inputs), preset.learner)
    works: dict[str, Callable[[], Any]] = {
        "step": fixed_step(learner, fixed_observation(inputs), inputs),
        "segment": lambda: agent.act(obs, puzzle_key=torch.arange(len(inputs))),
    }
    for each in works.values():
        each()
    for line in sys.stdin:
        name, seconds = line.split()
        times: list[float] = []
        while not times or sum(times) < float(seconds):
            start = time.perf_counter()
            works[name]()
            times.append(time.perf_counter() - start)
        print(statistics.median(times), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(int(sys.argv[2]))
    else:
        main(tyro.cli(Args, description=__doc__))
