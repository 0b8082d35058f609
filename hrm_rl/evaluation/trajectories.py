"""Several trajectories of each puzzle: how they differ, and their rows in recording and evaluation."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.agents.hrm_agent import AgentState
from hrm_rl.halting import HaltingRule, spec_of
from hrm_rl.halting.rules.select import Particles, Select
from hrm_rl.hashing import stream, uniform
from hrm_rl.messages import did_you_mean
from hrm_rl.model.noise import Noise
from hrm_rl.puzzles.base.counter_rng import stream_keys
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry
from hrm_rl.puzzles.views import Views, views_of
from hrm_rl.settings import check_counts
from hrm_rl.tensors import total_memory

KNOWN = ("start", "views", "noise:SIGMA")


class Rows(NamedTuple):
    """The trajectories of puzzles as rows, a puzzle's K together."""

    puzzles: PuzzleArrays  # [N * K]
    keys: NDArray[np.int64]  # [N * K]: the puzzles' keys
    numbers: NDArray[np.int64]  # [N * K]: 0 is the plain trajectory
    views: Views | None

    def take(self, rows: slice) -> "Rows":
        """Some of the rows."""
        views = self.views and self.views.take(rows)
        return Rows(self.puzzles.take(rows), self.keys[rows], self.numbers[rows], views)

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Keys and numbers, on the device."""
        return torch.as_tensor(self.keys, device=device), torch.as_tensor(self.numbers, device=device)

    def undo_views(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Answers [N * K, ..., S] to the views, as answers to the puzzles themselves."""
        return answers if self.views is None else self.views.undo(answers)


@dataclass(frozen=True)
class Trajectories:
    """K trajectories of each puzzle: the plain one, and K - 1 that differ by noise, by view, or by both.

        Trajectories(8, Noise(path=0.01))
        Trajectories.parse("start+noise:0.01", 8)

    Raises ValueError for a width below 1, or trajectories that do not differ.
    """

    width: int = 1
    noise: Noise = field(default_factory=Noise)
    symmetry: Symmetry | None = None
    """Every trajectory sees another view of the puzzle; its answers are mapped back."""

    def __post_init__(self) -> None:
        check_counts(width=self.width)
        if self.width > 1 and not self.noise and self.symmetry is None:
            raise ValueError(f"{self.width} trajectories need noise or a symmetry, by which they differ")

    @classmethod
    def parse(cls, text: str, width: int, kind: Any = None) -> Self:
        """The trajectories of `start`, `views`, `noise:0.01`, or several joined by "+".

        `kind` is the family of the puzzles, for views. Raises ValueError for another text, or a family
        without symmetry.
        """
        start, path, symmetry, names = False, 0.0, None, set[str]()
        for part in text.split("+"):
            name, _, sigma = part.strip().partition(":")
            if name in names:
                raise ValueError(f"trajectories {text!r}: {name} is given twice; give each once")
            names.add(name)
            if name == "noise":
                path = _positive(sigma, part)
            elif part.strip() == "start":
                start = True
            elif part.strip() == "views":
                symmetry = getattr(kind, "symmetry", None)
                if symmetry is None:
                    words = getattr(kind, "words", "these puzzles")
                    raise ValueError(f"{words}: no symmetry, so no views; choose start or noise:0.01")
            else:
                hint = did_you_mean(name, ("start", "views", "noise"))
                raise ValueError(
                    f"unknown trajectories {part!r}; {hint}{' ' if hint else ''}known: "
                    f"{', '.join(KNOWN)}, or several joined by '+'"
                )
        return cls(width, Noise(start, path), symmetry)

    def __str__(self) -> str:
        noise = f"noise:{self.noise.path}" if self.noise.path else ""
        parts = ("views" if self.symmetry else "", "start" if self.noise.start else "", noise)
        return "+".join(filter(None, parts))

    def rows(self, puzzles: PuzzleArrays, keys: NDArray[np.int64]) -> Rows:
        """The trajectories of puzzles with these keys, int64 [N]; keys and numbers determine the noise."""
        count = len(puzzles)
        if self.width == 1:
            return Rows(puzzles, keys, np.zeros(count, np.int64), None)
        views = None if self.symmetry is None else views_of(self.symmetry, keys, self.width, puzzles.seq_len)
        rows = puzzles.take(np.repeat(np.arange(count), self.width))
        if views is not None:
            inputs, labels = views.apply(rows.inputs), views.apply(rows.labels)
            rows = PuzzleArrays(inputs, labels, rows.puzzle_identifiers, rows.rating, rows.source)
        numbers = np.tile(np.arange(self.width), count)
        return Rows(rows, np.repeat(keys, self.width), numbers, views)

    def selecting(self, rule: HaltingRule) -> Select | None:
        """The rule as one that selects among these trajectories live; None for one trajectory.

        Raises ValueError for a rule that does not fit the width, or selects in hindsight.
        """
        if self.width == 1:
            return None
        spec = spec_of(rule)
        if not isinstance(rule, Select):
            raise ValueError(
                f"rule {spec!r} stops one trajectory, and there are {self.width}; say which of them answers, "
                f"as in select({spec}, first)"
            )
        if rule.width not in (None, self.width):
            raise ValueError(
                f"rule {spec!r} selects among {rule.width} trajectories, and there are {self.width}"
            )
        if "future" in rule.needs:
            raise ValueError(f"rule {spec!r} decides in hindsight: it runs on a trace bank, not live")
        if isinstance(rule, Particles) and self.symmetry is not None:
            raise ValueError(f"rule {spec!r} copies states between trajectories; views do not share states")
        return rule

    def check_memory(self, puzzles: int, segments: int, per_segment: int) -> None:
        """Raise MemoryError if the results, of so many bytes a segment, would exceed the machine's memory."""
        needed, total = puzzles * self.width * segments * per_segment, total_memory("cpu")
        if needed > total:
            raise MemoryError(
                f"{puzzles:,} puzzles x {self.width} trajectories x {segments} segments take about "
                f"{needed / 1e9:,.0f} GB, more than the {total / 1e9:.1f} GB of this machine; take fewer"
            )


def _positive(text: str, part: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise ValueError(f"trajectories {part!r}: SIGMA must be a number > 0, as in noise:0.01")
    return value


ONE = Trajectories()
"""The plain trajectory alone."""


def answer_ids(answers: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of each answer [..., S]: equal for equal answers."""
    flat = answers.reshape(-1, answers.shape[-1])
    return stream_keys(*flat.T).reshape(answers.shape[:-1])


def small_ids(ids: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Numbers from 0 that are equal where these [N, ...] are, row by row."""
    flat = ids.reshape(len(ids), -1)
    order = flat.argsort(1, kind="stable")
    ranked = np.take_along_axis(flat, order, 1)
    ranks = np.zeros(flat.shape, np.uint32)
    ranks[:, 1:] = (ranked[:, 1:] != ranked[:, :-1]).cumsum(1)
    found = np.empty_like(ranks)
    np.put_along_axis(found, order, ranks, 1)
    return found.reshape(ids.shape)


def any_of_group(halt: Tensor, width: int) -> Tensor:
    """Which rows [B] are in a group of `width` rows of which one halts."""
    return halt.view(-1, width).any(1).repeat_interleave(width)


def resampled(state: AgentState, q_halt: Tensor, keys: Tensor, segment: Tensor, width: int) -> AgentState:
    """The state with each group of `width` rows resampled, in proportion to sigmoid(q_halt) [B].

    Systematic resampling: one uniform number a group, a hash of its first row's key and segment.
    """
    weights = q_halt.double().sigmoid().view(-1, width).cumsum(1)
    draw = uniform(stream(stream(keys[::width], 1), segment[::width])).double()
    places = (draw[:, None] + torch.arange(width, device=q_halt.device)) / width * weights[:, -1:]
    index = torch.searchsorted(weights, places).clamp_max(width - 1)
    first = torch.arange(0, len(q_halt), width, device=q_halt.device)[:, None]
    return state.take_rows((first + index).flatten())
