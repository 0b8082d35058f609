"""Features of a segment that halting rules read, and the memory that measures change."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class States(Protocol):
    """The latent states before or after a segment, both [B, P+S, D], such as a `Carry`."""

    @property
    def z_H(self) -> Tensor: ...
    @property
    def z_L(self) -> Tensor: ...


class Segment(Protocol):
    """The output of a segment, such as a `SegmentOutput`."""

    @property
    def carry(self) -> States: ...
    @property
    def logits(self) -> Tensor: ...  # [B, S, V]
    @property
    def q_halt(self) -> Tensor: ...  # [B]
    @property
    def q_continue(self) -> Tensor: ...  # [B]


class SegmentFeatures(NamedTuple):
    """One segment of every row, all [B]: the values after the row's `segment`-th segment."""

    segment: Tensor
    """Segments run on this puzzle, 1..M, integer."""
    q_halt: Tensor
    """Logit that the draft is right."""
    q_continue: Tensor
    """Logit of the value of continuing."""
    confidence: Tensor
    """Mean over cells of the largest probability."""
    confidence_min: Tensor
    """Smallest over cells of the largest probability."""
    margin: Tensor
    """Mean over cells of the difference of the two largest probabilities."""
    entropy: Tensor
    """Mean over cells of the entropy, in nats."""
    kl: Tensor
    """Mean over cells of KL(this segment || the last one), in nats; inf at segment 1."""
    residual_H: Tensor
    """|z_H - previous z_H| / |z_H|; inf at segment 1."""
    residual_L: Tensor
    """|z_L - previous z_L| / |z_L|; inf at segment 1."""
    previous_residual_H: Tensor
    """residual_H of the segment before; inf up to segment 2."""
    changed: Tensor
    """Share of cells whose draft differs from the last segment's; 1 at segment 1."""
    unchanged_for: Tensor
    """Segments in a row that left the draft unchanged, integer; 0 at segment 1."""
    puzzle_key: Tensor
    """int64, constant over a puzzle: the random key of rules that sample."""
    pooled_z_H: Tensor | None = None
    """Mean of z_H over positions, float32 [B, D], if requested."""
    halt_sum: Tensor | None = None
    """Sum of sigmoid(q_halt) over the segments so far, as in Graves' ACT."""
    log_survival: Tensor | None = None
    """Sum of log(1 - sigmoid(q_halt)): the log probability of not having halted yet (PonderNet)."""


class Memory(NamedTuple):
    """The values that the next segment's features compare with; a row at segment 0 has none."""

    segment: Tensor  # [B] int64
    log_probs: Tensor  # [B, S, V] float32
    draft: Tensor  # [B, S] int64
    unchanged_for: Tensor  # [B] int64
    residual_H: Tensor  # [B] float32
    halt_sum: Tensor  # [B] float32
    log_survival: Tensor  # [B] float32

    @classmethod
    def blank(cls, batch: int, seq_len: int, vocab_size: int, device: torch.device) -> "Memory":
        counts = torch.zeros(batch, dtype=torch.int64, device=device)
        log_probs = torch.zeros(batch, seq_len, vocab_size, device=device)
        zeros = counts.float()
        return cls(counts, log_probs, log_probs[..., 0].long(), counts, zeros, zeros, zeros)

    def reset(self, where: Tensor) -> "Memory":
        """Clear the rows of `where` (bool [B]): their next segment is their first."""
        return self._replace(segment=torch.where(where, 0, self.segment))


def segment_features(
    last: Memory, before: States, out: Segment, puzzle_key: Tensor, *, pooled: bool = False
) -> tuple[SegmentFeatures, Memory]:
    """Compute the features of the segment from carry `before` to `out`, and the new memory.

    Probabilities are softmax over the logits, in float32. No host synchronisation.
    """
    q_halt = out.q_halt.detach()
    log_probs = out.logits.float().log_softmax(-1)  # [B, S, V]
    probs = log_probs.exp()
    draft = out.logits.argmax(-1)
    seen = last.segment > 0
    top = probs.topk(2, dim=-1).values  # [B, S, 2]
    differs = (draft != last.draft).float().mean(-1)
    kl = (probs * (log_probs - last.log_probs)).sum(-1).mean(-1)
    features = SegmentFeatures(
        segment=last.segment + 1,
        q_halt=q_halt,
        q_continue=out.q_continue.detach(),
        confidence=top[..., 0].mean(-1),
        confidence_min=top[..., 0].amin(-1),
        margin=(top[..., 0] - top[..., 1]).mean(-1),
        entropy=torch.special.entr(probs).sum(-1).mean(-1),
        kl=torch.where(seen, kl, torch.inf),
        residual_H=torch.where(seen, _relative_change(before.z_H, out.carry.z_H), torch.inf),
        residual_L=torch.where(seen, _relative_change(before.z_L, out.carry.z_L), torch.inf),
        previous_residual_H=torch.where(seen, last.residual_H, torch.inf),
        changed=torch.where(seen, differs, 1.0),
        unchanged_for=torch.where(seen & (differs == 0), last.unchanged_for + 1, 0),
        puzzle_key=puzzle_key,
        pooled_z_H=out.carry.z_H.float().mean(1) if pooled else None,
        halt_sum=torch.where(seen, last.halt_sum, 0.0) + q_halt.float().sigmoid(),
        log_survival=torch.where(seen, last.log_survival, 0.0) + logsigmoid(-q_halt.float()),
    )
    assert features.halt_sum is not None and features.log_survival is not None
    memory = Memory(
        segment=features.segment,
        log_probs=log_probs,
        draft=draft,
        unchanged_for=features.unchanged_for,
        residual_H=features.residual_H,
        halt_sum=features.halt_sum,
        log_survival=features.log_survival,
    )
    return features, memory


def _relative_change(before: Tensor, after: Tensor) -> Tensor:
    """|after - before| / |after| over positions and channels, float32 [B]."""
    after = after.float().flatten(1)
    change = (after - before.float().flatten(1)).norm(dim=-1)
    return change / after.norm(dim=-1).clamp_min(1e-12)
