"""Segment features against a plain recomputation in NumPy and float64."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from hrm_rl.halting import Memory, SegmentFeatures, segment_features
from hrm_rl.model import Carry, SegmentOutput

ROWS, CELLS, VOCAB, TOKENS, WIDTH, SEGMENTS = 5, 7, 6, 8, 4, 6
CPU = torch.device("cpu")
INTEGERS = ("segment", "unchanged_for", "puzzle_key")
FIELDS = [name for name in SegmentFeatures._fields if name != "pooled_z_H"]


class Run(NamedTuple):
    """Outputs of a few segments with resets between them, and the features they gave."""

    before: list[Carry]
    outputs: list[SegmentOutput]
    resets: list[np.ndarray]  # bool [B]: rows that forgot before this segment
    features: list[SegmentFeatures]


def run(dtype: torch.dtype = torch.float32, pooled: bool = False) -> Run:
    """Random logits that now and then repeat the last draft, in whole rows or single cells."""
    rng = np.random.default_rng(0)
    memory = Memory.blank(ROWS, CELLS, VOCAB, CPU)
    keys = torch.arange(ROWS) * 1_000_003
    carry, logits, result = None, None, Run([], [], [], [])
    for _ in range(SEGMENTS):
        where = rng.random(ROWS) < 0.25
        memory = memory.reset(torch.from_numpy(where))
        z = [torch.from_numpy(rng.normal(size=(ROWS, TOKENS, WIDTH))).to(dtype) for _ in range(4)]
        before = Carry(z[0], z[1]) if carry is None else carry
        fresh = torch.from_numpy(3 * rng.normal(size=(ROWS, CELLS, VOCAB))).to(dtype)
        if logits is not None:
            keep = rng.random((ROWS, 1)) < 0.6
            keep = torch.from_numpy(keep | (rng.random((ROWS, CELLS)) < 0.5))
            fresh = torch.where(keep[..., None], (logits * 1.5).to(dtype), fresh)
        q = torch.from_numpy(rng.normal(size=(2, ROWS))).float()
        carry, logits = Carry(z[2], z[3]), fresh
        out = SegmentOutput(carry, logits, q[0], q[1])
        features, memory = segment_features(memory, before, out, keys, pooled=pooled)
        for column, value in zip(result, (before, out, where, features), strict=True):
            column.append(value)
    return result


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def norm(z: np.ndarray) -> float:
    return float(np.sqrt((z**2).sum()))


def expected(record: Run, row: int) -> list[dict[str, float]]:
    """One row's features by their definitions, a loop over segments."""
    result: list[dict[str, float]] = []
    segment, last_p, last_draft, unchanged, last_residual = 0, None, None, 0, np.inf
    halt_sum, log_survival = 0.0, 0.0
    for before, out, where in zip(record.before, record.outputs, record.resets, strict=True):
        if where[row]:
            segment, unchanged, last_residual = 0, 0, np.inf
            halt_sum, log_survival = 0.0, 0.0
        segment += 1
        p = softmax(out.logits[row].double().numpy())
        draft, ranked = p.argmax(-1), np.sort(p, axis=-1)
        values = {
            "segment": segment,
            "q_halt": float(out.q_halt[row]),
            "q_continue": float(out.q_continue[row]),
            "confidence": ranked[:, -1].mean(),
            "confidence_min": ranked[:, -1].min(),
            "margin": (ranked[:, -1] - ranked[:, -2]).mean(),
            "entropy": -(p * np.log(p)).sum(-1).mean(),
            "puzzle_key": row * 1_000_003,
            "previous_residual_H": last_residual,
            "halt_sum": (halt_sum := halt_sum + (halt := 1 / (1 + np.exp(-float(out.q_halt[row]))))),
            "log_survival": (log_survival := log_survival + np.log1p(-halt)),
        }
        if segment == 1:
            values |= dict.fromkeys(("kl", "residual_H", "residual_L"), np.inf)
            values |= {"changed": 1.0, "unchanged_for": 0}
        else:
            changed = float((draft != last_draft).mean())
            unchanged = 0 if changed else unchanged + 1
            values["kl"] = (p * np.log(p / last_p)).sum(-1).mean()
            for name, old, new in (
                ("residual_H", before.z_H, out.carry.z_H),
                ("residual_L", before.z_L, out.carry.z_L),
            ):
                old, new = old[row].double().numpy(), new[row].double().numpy()
                values[name] = norm(new - old) / norm(new)
            values |= {"changed": changed, "unchanged_for": unchanged}
        last_p, last_draft, last_residual = p, draft, values["residual_H"]
        result.append(values)
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_features_equal_their_definitions(dtype: torch.dtype) -> None:
    record = run(dtype)
    for row in range(ROWS):
        for wanted, features in zip(expected(record, row), record.features, strict=True):
            assert wanted.keys() == set(FIELDS)
            for name, value in wanted.items():
                column = getattr(features, name)
                assert column.dtype == (torch.int64 if name in INTEGERS else torch.float32), name
                assert column.shape == (ROWS,)
                assert float(column[row]) == pytest.approx(value, rel=2e-5, abs=1e-6), name
    # The run has resets, segments after them, and drafts that stay, or stay in part.
    segments = torch.stack([f.segment for f in record.features])
    unchanged = torch.stack([f.unchanged_for for f in record.features])
    assert segments.max() >= 4 and (segments[1:] == 1).any()
    assert unchanged.max() >= 2 and (torch.stack([f.changed for f in record.features]) < 1).any()


def test_pooled_state_only_where_asked_for() -> None:
    assert run().features[0].pooled_z_H is None
    record = run(torch.bfloat16, pooled=True)
    for out, f in zip(record.outputs, record.features, strict=True):
        wanted = out.carry.z_H.double().numpy().mean(1)
        assert f.pooled_z_H is not None and f.pooled_z_H.dtype == torch.float32
        np.testing.assert_allclose(f.pooled_z_H.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_extreme_logits_stay_finite() -> None:
    """A certain draft has entropy and divergence zero, not NaN."""
    memory = Memory.blank(2, CELLS, VOCAB, CPU)
    z = torch.zeros(2, TOKENS, WIDTH)
    logits = torch.full((2, CELLS, VOCAB), -1e30)
    logits[..., 3] = 1e30
    out = SegmentOutput(Carry(z, z), logits, torch.zeros(2), torch.zeros(2))
    for _ in range(2):
        features, memory = segment_features(memory, Carry(z, z), out, torch.zeros(2).long())
    values: list[Any] = [value for value in features if value is not None]
    assert not any(value.isnan().any() for value in values)
    assert (features.entropy == 0).all() and (features.kl == 0).all()
    assert (features.confidence == 1).all() and (features.residual_H == 0).all()
