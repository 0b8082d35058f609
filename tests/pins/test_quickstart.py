"""Training gives what it gave: a few steps closely, the quickstart as far as rounding allows."""

from pathlib import Path

import observe
import pytest

PINNED = observe.stored("quickstart")


def test_small_training(tmp_path: Path) -> None:
    found = observe.trained(tmp_path)
    wanted = PINNED["small"]["command"]
    assert observe.differences(found, wanted, rel=1e-4, at="train sudoku-4x4") == []


def test_small_training_in_python(tmp_path: Path) -> None:
    found = observe.learned(tmp_path)
    assert observe.differences(found, PINNED["small"]["python"], rel=1e-4, at="Learner") == []


APART = {"fixed:1": 0.08, "fixed:2": 0.02}
"""Runs of one commit that differ in rounding alone (threads, compiled or not) came out that far apart."""


@pytest.mark.slow
def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes, in float32 as it was pinned; OMP_NUM_THREADS=2 in the environment lets it have two threads."""
    monkeypatch.setattr("hrm_rl.training.machine.compute.has_fast_bfloat16", lambda *_: False)
    found, _ = observe.quickstart(tmp_path)
    assert found.keys() == PINNED["rules"].keys()
    for rule, wanted in PINNED["rules"].items():
        for name, most in (("exact_accuracy", APART.get(rule, 0.01)), ("mean_segments", 0.2)):
            apart = abs(found[rule][name] - wanted[name])
            assert apart <= most, f"{rule}: {name} {found[rule][name]}, pinned is {wanted[name]}"
