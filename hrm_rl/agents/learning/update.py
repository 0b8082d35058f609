"""The records that `learn` takes and returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from torch import Tensor

from hrm_rl.envs import Judgement
from hrm_rl.model import SegmentOutput


class JudgedSegment(NamedTuple):
    """One step of the loop: a segment of every row, and the environment's evaluation of its drafts."""

    out: SegmentOutput
    obs: dict[str, Tensor]  # that the segment ran on
    labels: Tensor  # [B, S]
    ended: Tensor  # [B] bool
    judged: Judgement


class Rows(NamedTuple):
    """One number per row, [B], detached: the evaluation of its draft and its Q values."""

    ended: Tensor  # bool: an episode of a labelled puzzle ended
    correct: Tensor  # bool
    cell_accuracy: Tensor
    segments: Tensor  # int64
    q_halt: Tensor
    q_continue: Tensor
    q_target: Tensor  # the target of q_continue; 0 where there was none

    @classmethod
    def of(cls, out: SegmentOutput, ended: Tensor, judged: Judgement, q_target: Tensor) -> Self:
        verdict = judged.correct, judged.cell_accuracy, judged.segments
        return cls(ended, *verdict, out.q_halt.detach(), out.q_continue.detach(), q_target)


@dataclass(frozen=True, eq=False)
class Update(Mapping[str, Tensor]):
    """The result of one call of `learn`. Also a mapping of all its tensors: `update["token_loss"]`."""

    losses: dict[str, Tensor]
    """Means over rows, scalars. `loss` is what was minimised; its parts depend on the halting loss."""
    rows: Rows

    def tensors(self) -> dict[str, Tensor]:
        """Losses and rows by name."""
        return self.losses | self.rows._asdict()

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The record whose `tensors()` these are."""
        losses = {name: t for name, t in tensors.items() if name not in Rows._fields}
        return cls(losses, Rows(*(tensors[name] for name in Rows._fields)))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors())

    def __len__(self) -> int:
        return len(self.losses) + len(self.rows)
