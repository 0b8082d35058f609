import pytest
import torch

from hrm_rl.kernels import precision
from hrm_rl.training.machine import compute
from hrm_rl.training.machine.compute import Compute, choose_compute, pick_device


def switches() -> tuple[str, int]:
    return torch.get_float32_matmul_precision(), torch.get_num_threads()


def test_choice_measures_and_leaves_the_switches_as_they_were(preset) -> None:
    p, before, state = preset(), switches(), torch.get_rng_state()
    choice = choose_compute(p.model, p.learner, p.batch_size, device="cpu")
    assert choice.compute.device == "cpu"
    assert choice.compute.dtype in ("float32", "bfloat16")
    assert not choice.compute.compile  # too short a run
    assert 0 < choice.row_seconds < 60
    assert switches() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_apply_sets_the_switches() -> None:
    before = switches()
    try:
        Compute(matmul_precision="medium", threads=1).apply()
        assert switches() == ("medium", 1)
    finally:
        Compute(matmul_precision=before[0], threads=before[1]).apply()


def test_device_and_dtype_are_as_given_or_refused(preset) -> None:
    with pytest.raises(ValueError, match="'cube'"):
        pick_device("cube")
    assert pick_device() == ("cuda" if torch.cuda.is_available() else "cpu")
    p = preset()
    choice = choose_compute(p.model, p.learner, 2, device="cpu", dtype="bfloat16")
    assert choice.compute.dtype == "bfloat16"
    with pytest.raises(ValueError, match=r"dtype.*'int8'"):
        choose_compute(p.model, p.learner, 2, device="cpu", dtype="int8")


def test_what_is_emulated_is_not_probed(preset, monkeypatch, caplog) -> None:
    p = preset()
    for fast in (True, False):
        caplog.clear()
        monkeypatch.setattr(compute, "has_fast_bfloat16", lambda fast=fast: fast)
        with caplog.at_level("INFO", logger="hrm_rl"):
            choose_compute(p.model, p.learner, 2, device="cpu")
        assert ("bfloat16" in caplog.text) == fast


def test_bfloat16_is_judged_by_its_products(monkeypatch) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: 30.0}
    monkeypatch.setattr(precision, "_product_seconds", lambda dtype: seconds[dtype])
    judge = precision.has_fast_bfloat16.__wrapped__
    threads = torch.get_num_threads()
    assert not judge()
    seconds[torch.bfloat16] = 0.6
    assert judge() and torch.get_num_threads() == threads


def test_compiling_on_request_needs_a_compiler(preset, monkeypatch) -> None:
    p = preset()

    def chosen(**asked) -> bool:
        return choose_compute(p.model, p.learner, 2, device="cpu", **asked).compute.compile

    assert chosen(compile="yes")
    assert not chosen(compile="no", steps=10**9)
    monkeypatch.setattr(compute, "_has_compiler", lambda: False)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        chosen(compile="yes")
