"""One puzzle thought through by a model: every draft, as text for terminals and as an animated picture."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrm_rl.evaluation.record import record
from hrm_rl.files import begins_with, check_replaces, written_whole
from hrm_rl.halting import TraceBank, parse_rule
from hrm_rl.halting.bank.replay import Outcome, replay
from hrm_rl.halting.rules import needs_of
from hrm_rl.puzzles import maze, sudoku
from hrm_rl.puzzles.base.picture import Drawable
from hrm_rl.puzzles.base.tokens import BOLD, CYAN, FAINT, RED, paint
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.report.boards import drawable
from hrm_rl.report.replay import sigmoid
from hrm_rl.training.open_run import Trained

_BARS = {"q_halt": "halt", "q_continue": "continue", "confidence": "confidence"}
_NUMBERS = ("margin", "entropy", "residual_H", "residual_L")
_WIDE, _FIRST, _FRAME, _LAST = 20, 1200, 700, 2500  # characters of a bar; milliseconds


def read_puzzle(trained: Trained, text: str, command: str, instead: str) -> PuzzleArrays:
    """A Sudoku or maze as people write it, with its solution.

    Raises ValueError if it is not one with a solution, or if the model solves other puzzles: then what the
    command can do instead.
    """
    kind = trained.kind
    if not isinstance(kind, sudoku.Sudoku | maze.Maze):
        raise ValueError(
            f"{command} takes a Sudoku or a maze, but {trained.path} solves {kind.words}; {instead}"
        )
    family: Any = sudoku if kind.name == "sudoku" else maze
    question = family.parse(text, kind.size)
    if kind.name == "maze":  # a drawn path lies on spaces
        question[question == maze.PATH] = maze.SPACE
    return PuzzleArrays(question[None], family.check_puzzle(question, kind.size)[None])


@dataclass(frozen=True)
class Thinking:
    """A model's drafts of one puzzle, and where a rule stops."""

    kind: Drawable
    bank: TraceBank
    """Of the puzzle alone, with its drafts."""
    rule: str
    outcome: Outcome

    @property
    def drafts(self) -> NDArray[np.int32]:
        """[M, S]."""
        assert self.bank.drafts is not None
        return self.bank.drafts[0].astype(np.int32)

    @property
    def limit(self) -> int:
        """Segments, M."""
        return self.bank.num_segments

    @property
    def stopped(self) -> int:
        return int(self.outcome.stopped[0])

    def board(self, segment: int, color: bool = False) -> str:
        """The draft after a segment as lines of text; the question for segment 0."""
        labels = self.bank.labels[0]
        if segment == 0:
            return self.kind.draw(self.bank.inputs[0], color=color)
        return self.kind.draw(self.bank.inputs[0], self.drafts[segment - 1], labels, color)

    def words(self, segment: int) -> str:
        """What happened in a segment: "Segment 3 of 8: right, 2 cells changed"."""
        if segment == 0:
            return "The question"
        now = self.drafts[segment - 1]
        before = self.drafts[segment - 2] if segment > 1 else self.bank.inputs[0]
        labels = self.bank.labels[0]
        wrong = int(((now != labels) & (labels >= 0)).sum())
        right = (
            "right"
            if self.bank.valid[0, segment - 1]
            else f"wrong in {wrong} of {int((labels >= 0).sum())} cells"
        )
        stop = f"; {self.rule} stops here" if segment == self.stopped else ""
        return f"Segment {segment} of {self.limit}: {right}, {int((now != before).sum())} changed{stop}"

    def _signal(self, name: str, segment: int) -> float:
        column = self.bank.cell_accuracy if name == "cell_accuracy" else self.bank.column(name)
        return float(column[0, segment - 1]) if segment else 0.0

    def signals(self, segment: int, color: bool = False, full: str = "#", empty: str = ".") -> str:
        """The numbers of a segment, those from 0 to 1 as bars."""
        lines = []
        for name, words in (_BARS | {"cell_accuracy": "cells right"}).items():
            x = self._signal(name, segment)
            share = float(sigmoid(x)) if name.startswith("q_") else x
            bar = round(_WIDE * share) if segment else 0
            value = f"{share:.3f}" if segment else "-"
            lines.append(f"{words:<12}{paint(full * bar, CYAN, color)}{empty * (_WIDE - bar)} {value}")
        if segment:
            values = {name: self._signal(name, segment) for name in _NUMBERS}
            numbers = [f"{name} {x:.3g}" if np.isfinite(x) else f"{name} -" for name, x in values.items()]
            lines += ["  ".join(numbers[:2]), "  ".join(numbers[2:])]
        return "\n".join(lines)

    def timeline(self, segment: int, color: bool = False) -> str:
        """Which segments are right (+) and wrong (x), the rule's stop in brackets."""
        marks = []
        for k in range(1, self.limit + 1):
            right = bool(self.bank.valid[0, k - 1])
            mark = f"{k}{'+' if right else 'x'}"
            look = BOLD if k == segment else FAINT if right else RED
            marks.append(paint(f"[{mark}]" if k == self.stopped else mark, look, color))
        return "segments    " + " ".join(marks)

    def to_json(self) -> dict[str, Any]:
        """Every draft and every number."""
        columns = ("q_halt", "q_continue", "confidence", "changed", *_NUMBERS)
        values = {name: self.bank.column(name)[0].astype(float).tolist() for name in columns}
        plain = {name: [x if np.isfinite(x) else None for x in column] for name, column in values.items()}
        return {
            "inputs": self.bank.inputs[0].tolist(),
            "labels": self.bank.labels[0].tolist(),
            "drafts": self.drafts.tolist(),
            "correct": self.bank.correct[0].tolist(),
            "valid": self.bank.valid[0].tolist(),
            **plain,
            "halting": self.rule,
            "segments": self.stopped,
            "max_segments": self.limit,
        }

    def save_gif(self, path: str | os.PathLike[str], cell: int | None = None) -> None:
        """An animated picture up to where the rule stops."""
        q = [self.bank.features[name][0].astype(float) for name in ("q_halt", "q_continue")]
        frames = []
        for k in range(self.stopped + 1):
            frames.append(
                self.kind.picture(
                    self.bank.inputs[0],
                    draft=self.drafts[k - 1] if k else None,
                    labels=self.bank.labels[0],
                    caption="the question" if k == 0 else f"segment {k} of at most {self.limit}",
                    q=(float(q[0][k - 1]), float(q[1][k - 1])) if k else (np.nan, np.nan),
                    cell=cell,
                )
            )
        first, *others = (Image.fromarray(frame) for frame in frames)
        times = [_FIRST] + [_FRAME] * (len(others) - 1) + [_LAST]
        with written_whole(path) as partial:
            first.save(
                partial, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=True
            )


def check_gif(path: Path) -> None:
    """Raise OSError or ValueError if a picture cannot be written there, or would replace another file."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    check_replaces(path, "a GIF", begins_with(b"GIF8"))
    if path.suffix.lower() != ".gif":
        raise ValueError(f"{path}: the picture is a GIF; name it {path.with_suffix('.gif')}")


def think(trained: Trained, puzzle: PuzzleArrays, rule: str, max_segments: int | None = None) -> Thinking:
    """Run one puzzle to the limit; where a rule stops changes nothing before."""
    pooled = "pooled_z_H" in needs_of(parse_rule(rule))
    options: Any = {"validator": trained.validator(), "batch_size": 1, "pooled": pooled, "drafts": True}
    bank = record(trained.model, puzzle, max_segments, **options)
    return Thinking(drawable(trained.kind), bank, rule, replay(bank, rule))


_MOVES = {b" ": 1, b"\x1b[C": 1, b"\x1b[D": -1, b"\x1b[H": -(10**6), b"\x1b[F": 10**6}
_ENDS = (b"q", b"\x1b", b"\r", b"\n", b"\x03", b"\x04", b"")


def steps(keys: Iterable[bytes], limit: int) -> Iterator[int]:
    """The segments that keys lead to, from 0 on: space and arrows step, Home and End jump, q ends."""
    segment = 0
    yield segment
    for key in keys:
        if key in _ENDS:
            return
        segment = min(limit, max(0, segment + _MOVES.get(key, 0)))
        yield segment
