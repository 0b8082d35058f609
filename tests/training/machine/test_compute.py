import dataclasses

import pytest
import torch

from hrm_rl.kernels import precision
from hrm_rl.training.machine import compute, measured
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


@pytest.fixture
def machine(preset, monkeypatch):
    """A machine whose steps take as many seconds as `times` says."""
    monkeypatch.setattr(measured, "_WORTH_KEEPING", 0.0)
    monkeypatch.setattr(compute, "has_fast_bfloat16", lambda: False)
    monkeypatch.setattr(compute, "_onednn_keeps_float32", lambda: False)
    times, probed = {"plain": 0.1, "compiled": 0.05}, []

    def row_seconds(way, model, learner, batch_size, rows=None, *, alone):
        assert alone
        probed.append((way.compile, rows))
        return times["compiled" if way.compile else "plain"] / batch_size

    monkeypatch.setattr(compute, "_row_seconds", row_seconds)

    def choose(steps, p=None, **given):
        p = p or preset()
        probed.clear()
        found = choose_compute(p.model, p.learner, 8, steps=steps, device="cpu", threads=1, **given)
        return found.compute.compile, list(probed)

    return choose, times


def test_compiled_and_plain_are_compared_on_the_rows_of_the_run_and_once(machine, caplog) -> None:
    choose, _ = machine
    assert choose(steps=1000) == (False, [(False, None)])  # 100 s
    assert choose(steps=4000) == (True, [(False, 8), (True, 8)])
    with caplog.at_level("INFO", logger="hrm_rl"):
        assert choose(steps=1000) == (True, [])  # the code is on the disk
    assert "of an earlier run" in caplog.text
    assert choose(steps=500) == (False, [])
    assert choose(steps=4000, compile="no") == (False, [])


def test_what_compiling_does_not_speed_up_stays_plain(machine) -> None:
    choose, times = machine
    times["compiled"] = 0.098
    assert choose(steps=4000) == (False, [(False, None), (False, 8), (True, 8)])


def test_a_long_step_is_compared_on_fewer_rows(machine) -> None:
    choose, times = machine
    times |= {"plain": 16.0, "compiled": 8.0}
    assert choose(steps=4000)[1] == [(False, None), (False, 2), (True, 2)]


def test_timings_belong_to_a_model_and_a_damaged_file_is_measured_again(machine, preset, tmp_path) -> None:
    choose, _ = machine
    choose(steps=1)
    wider = dataclasses.replace(preset().model, hidden_size=32)
    assert choose(steps=1)[1] == [] and choose(steps=1, p=preset(model=wider))[1] == [(False, None)]
    for path in (tmp_path / "hrm_rl" / "measured").iterdir():
        path.write_text("{")
    assert choose(steps=1)[1] == [(False, None)]


def test_timings_of_a_crowded_machine_are_not_kept(preset, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(measured, "_WORTH_KEEPING", 0.0)
    monkeypatch.setattr(measured, "crowded", lambda share: "crowded")
    p = preset()
    for alone in (False, True):
        timings = measured.Measured(p.model, p.learner, 8, alone=alone)
        assert timings.get("way", lambda: 0.5) == 0.5
        assert (tmp_path / "hrm_rl").exists() == alone


def test_timings_of_two_clocks_stay_apart(preset, monkeypatch) -> None:
    monkeypatch.setattr(measured, "_WORTH_KEEPING", 0.0)
    monkeypatch.setattr(measured, "crowded", lambda share: "")
    p = preset()
    for seconds, alone in ((0.5, True), (2.0, False)):
        for now in (seconds, 7.0):
            timings = measured.Measured(p.model, p.learner, 8, alone=alone)
            assert timings.get("way", lambda now=now: now) == seconds


def test_a_machine_without_a_compiler_trains_plainly_and_says_so(
    preset, tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    p = preset()
    with caplog.at_level("INFO", logger="hrm_rl"):
        found = choose_compute(p.model, p.learner, p.batch_size, steps=10**9, device="cpu", threads=1)
    assert not found.compute.compile
    assert caplog.text.count("No C++ compiler") == 1
