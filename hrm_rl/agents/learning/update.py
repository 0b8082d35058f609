"""The records that `learn` takes and returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from hrm_rl.distributed.ranks import Ranks
from hrm_rl.envs import Judgement
from hrm_rl.model import HRMConfig, SegmentOutput
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.tensors import below, refuse


class JudgedSegment(NamedTuple):
    """One step of the loop: a segment of every row, and the environment's evaluation of its drafts."""

    out: SegmentOutput
    obs: dict[str, Tensor]  # that the segment ran on
    labels: Tensor  # [B, S]
    ended: Tensor  # [B] bool
    judged: Judgement

    def check(self, rows: int, model: HRMConfig) -> None:
        """Raise ValueError for a part of another form; labels on a GPU are not read, which would wait."""
        shapes = {
            "labels": (rows, model.seq_len),
            "terminated": (rows,),
            "correct": (rows,),
            "segments": (rows,),
        }
        parts = self.labels, self.ended, self.judged.correct, self.judged.segments
        for (name, shape), value in zip(shapes.items(), parts, strict=True):
            if not isinstance(value, Tensor) or value.shape != shape:
                given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                place = "the step's info: " if name in ("correct", "segments") else ""
                raise ValueError(f"{place}{name} must be a tensor of shape {shape}, got {given}")
        if self.ended.dtype != torch.bool:
            raise ValueError(f"terminated must be bool, the third that step returns; got {self.ended.dtype}")
        if self.labels.device.type == "cpu":
            labels, tokens = self.labels.numpy(), model.vocab_size
            wrong = ~below(labels, tokens) & (labels != IGNORE_LABEL)
            refuse("labels", labels, wrong, f"they are 0 to {tokens - 1}, or {IGNORE_LABEL} for no label")


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

    def whole(self, ranks: Ranks) -> Self:
        """The update of the global batch: means of the losses, and the rows of all ranks."""
        if ranks.count == 1:
            return self
        losses = torch.stack(list(self.losses.values()))
        *rows, means = ranks.whole(*self.rows, losses[None])
        return type(self)(dict(zip(self.losses, means.mean(0), strict=True)), Rows(*rows))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors())

    def __len__(self) -> int:
        return len(self.losses) + len(self.rows)
