"""Judge a 9x9 Sudoku model on easy, minimal and published hard puzzles, with more segments than in training.

    python experiments/sudoku_9x9/judge.py runs/sudoku-9x9 --lists sudoku.csv

Every puzzle runs `--times` as many segments as the model's limit in training, once; the rows of the table are
read from that recording. Puzzles of classes that the run learned from are left out and counted. A list is a
CSV (source,question,answer,rating); each source in it is a row. Results go to a JSON file too.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from hrm_rl.evaluation import record
from hrm_rl.halting import TraceBank, replay
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.open_run import Trained, open_trained

GENERATED = {"0 to 57 extra givens": (0, 57), "0 to 12 extra givens": (0, 12), "minimal": (0, 0)}


@dataclass(frozen=True)
class Judge:
    """Judge a 9x9 Sudoku model on easy, minimal and published hard puzzles."""

    run: tyro.conf.Positional[Path]
    """A run folder or model."""
    lists: tuple[Path, ...] = field(default=())
    """CSV files of real puzzles."""
    puzzles: int = 1000
    """Most puzzles of each row, the first of them."""
    times: int = 8
    """Segments recorded, over the limit in training."""
    only: tuple[str, ...] = field(default=())
    """Rows to judge, by words of their names; all by default."""
    out: Path | None = None
    """JSON file of the results; RUN/judged.json by default."""


def pools(options: Judge) -> Iterator[tuple[str, PuzzleArrays]]:
    """The generated puzzles of test classes, then each source of each list."""

    def chosen(name: str) -> bool:
        return not options.only or any(word in name for word in options.only)

    for name, extra_givens in GENERATED.items():
        if chosen(name):
            yield name, Sudoku(9, extra_givens).generate_distinct(options.puzzles, seed=2, split="test")
    for path in options.lists:
        puzzles = Sudoku(9).read_csv(path)
        sources = np.array(puzzles.source)
        for source in filter(chosen, dict.fromkeys(puzzles.source or ())):
            yield source, puzzles.take(np.flatnonzero(sources == source)[: options.puzzles])


def judged(trained: Trained, puzzles: PuzzleArrays, times: int) -> dict[str, Any]:
    """Accuracy after 1, 1/2, ... of the segments, and under Q-halting with that much room."""
    learned = trained.learned(puzzles)
    held_out = puzzles if learned is None else puzzles.take(np.flatnonzero(~learned))
    limit = trained.model.config.halt_max_steps
    bank: TraceBank = record(trained.model, held_out, times * limit, batch_size=128)
    rooms = [limit * 2**k for k in range(times.bit_length())]
    halting = {room: replay(bank, "q", max_segments=room) for room in rooms}
    return {
        "puzzles": len(held_out),
        "learned": len(puzzles) - len(held_out),
        "givens": float((held_out.inputs > 1).sum(1).mean()),
        "solved": {room: float(bank.correct[:, room - 1].mean()) for room in rooms},
        "q": {room: float(out.correct.mean()) for room, out in halting.items()},
        "q_segments": {room: float(out.stopped.mean()) for room, out in halting.items()},
    }


def main(options: Judge) -> None:
    trained = open_trained(options.run)
    rows = {name: judged(trained, puzzles, options.times) for name, puzzles in pools(options)}
    if not rows:
        sys.exit(f"no row has one of these words in its name: {', '.join(options.only)}")
    table = Table("puzzles", "givens", "n")
    first = next(iter(rows.values()))
    for room in first["solved"]:
        table.add_column(f"{room} segments", justify="right")
    for room in first["q"]:
        table.add_column(f"q, at most {room}", justify="right")
    for name, row in rows.items():
        solved = [f"{100 * share:.1f}" for share in row["solved"].values()]
        halted = [f"{100 * row['q'][room]:.1f} ({row['q_segments'][room]:.1f})" for room in row["q"]]
        table.add_row(name, f"{row['givens']:.1f}", str(row["puzzles"]), *solved, *halted)
    Console(width=160).print(table)
    lists = [path.name for path in options.lists]
    report = {"lists": lists, "most_puzzles": options.puzzles, "times": options.times, "rows": rows}
    out = options.out or options.run / "judged.json"
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Judge)))
