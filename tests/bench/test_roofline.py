"""Work counted by hand, and measured peaks."""

import dataclasses

import pytest
import torch

from hrm_rl.agents import LearnerConfig
from hrm_rl.bench import roofline
from hrm_rl.bench.roofline import Peak, Work, measure_peak, segment_work, step_work
from hrm_rl.evaluation.flops import segment_gflop
from hrm_rl.model import HRMConfig
from hrm_rl.training.machine.compute import Compute

CONFIG = HRMConfig(
    6, 16, hidden_size=32, num_heads=4, H_layers=1, L_layers=1, H_cycles=2, L_cycles=3,
    puzzle_emb_ndim=0, halt_max_steps=4,
)  # fmt: skip
ROWS, TOKENS, WIDTH = 3, 16, 32


def block_flops() -> int:
    """One block on ROWS puzzles: its four matrices, and attention's two products."""
    matrices = 4 * WIDTH * WIDTH + 3 * WIDTH * CONFIG.swiglu_width
    return ROWS * (2 * TOKENS * matrices + 4 * TOKENS * TOKENS * WIDTH)


def head_flops() -> int:
    return ROWS * 2 * WIDTH * (TOKENS * CONFIG.vocab_size + 2)


def test_a_segment_is_counted_as_by_hand() -> None:
    calls = 2 * (3 + 1)
    assert segment_work(CONFIG, ROWS).flops == calls * block_flops() + head_flops()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"puzzle_emb_ndim": 40, "L_layers": 2, "relation_bias": True},
        {"pos_encodings": "rope-2d"},
        {"architecture": "trm", "mixer": "mlp", "mixer_width": 24},
        {"architecture": "recurrent", "L_layers": 2, "mixer": "mlp"},
        {"architecture": "direct", "halt_max_steps": 1},
    ],
)
def test_gflop_of_the_configuration_are_those_that_run(changes: dict) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    found = segment_gflop(config)
    assert found["segment"] == segment_work(config, 1).flops / 1e9
    assert found["logits"] == 2 * 32 * 16 * 6 / 1e9


def test_a_step_adds_the_backward_of_the_last_calls_and_the_target() -> None:
    none = step_work(CONFIG, LearnerConfig(q_target="none"), ROWS)
    # The backward pass of a product is two products; only the last L and the last H call have one.
    backward = 2 * (2 * block_flops() + head_flops())
    segment = segment_work(CONFIG, ROWS)
    assert none.flops == segment.flops + backward
    full = step_work(CONFIG, LearnerConfig(), ROWS)
    # Without logits; the last block projects and attends all keys, but goes on with one position.
    matrices = WIDTH * WIDTH + 3 * WIDTH * CONFIG.swiglu_width
    spared = ROWS * (TOKENS - 1) * (2 * matrices + 4 * TOKENS * WIDTH)
    spared += ROWS * 2 * WIDTH * TOKENS * CONFIG.vocab_size
    assert full.flops - none.flops == segment.flops - spared
    for spec, share in (("full", 1.0), ("subsample:0.25", 0.25), ("every:2", 0.5), ("delayed", 0)):
        work = step_work(CONFIG, LearnerConfig(q_target=spec), ROWS)
        for found, least, most in (
            (work.flops, none.flops, full.flops),
            (work.bytes, none.bytes, full.bytes),
        ):
            assert found == pytest.approx(least + share * (most - least))
    one = dataclasses.replace(CONFIG, halt_max_steps=1)
    assert step_work(one, LearnerConfig(), ROWS) == none


def test_the_papers_model_at_its_batch() -> None:
    config = HRMConfig(11, 81)
    assert step_work(config, LearnerConfig(), 768).flops == pytest.approx(27.81e12, rel=1e-3)
    assert segment_work(config, 768).flops == pytest.approx(10.56e12, rel=1e-3)


def test_traffic_is_what_operations_read_and_write() -> None:
    a, b = torch.zeros(10), torch.zeros(10)
    assert roofline.count(lambda: a + b).bytes == 3 * 40
    assert roofline.count(lambda: a.add_(b)).bytes == 3 * 40
    assert roofline.count(lambda: a.view(2, 5).t()[1:]).bytes == 0
    wide = torch.zeros(1).expand(10)
    assert roofline.count(lambda: a + wide).bytes == 40 + 4 + 40
    assert roofline.count(lambda: a.bfloat16()).bytes == 40 + 20


def test_a_peak_is_that_of_numbers_that_differ(monkeypatch) -> None:
    """A GPU multiplies constant numbers faster than different ones."""
    multiplied, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b: multiplied.append(a) or mm(a, b))
    measure_peak(Compute(threads=torch.get_num_threads()), repeats=1)
    assert len(multiplied) == 2
    assert multiplied[0].unique().numel() > 1000 and multiplied[0].mean().abs() < 0.01


def test_peaks_are_measured_and_shares_follow() -> None:
    before = torch.get_num_threads()
    peak = measure_peak(Compute(threads=before), repeats=2)
    assert peak.flops > 1e8 and peak.bytes > 1e7
    row = roofline.with_work({"ours": 0.5}, Work(flops=2e9, bytes=3e9), Peak(flops=8e9, bytes=1e9))
    assert row == {"ours": 0.5, "gflop": 2.0, "gigabytes": 3.0, "share_of_peak": 0.5}
