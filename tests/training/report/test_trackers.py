"""Trackers beside TensorBoard: the same figures and boards in each, and training goes on without one."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hrm_rl.training.report.metrics import MetricsLog
from hrm_rl.training.report.trackers import TRACKERS, check_trackers
from hrm_rl.training.run_folder import RunFolder

PICTURE = np.zeros((4, 6, 3), np.uint8)


class Stand(SimpleNamespace):
    """Stands in for wandb and trackio."""

    def __init__(self, *, known: bool = True) -> None:
        super().__init__(known=known, started=[], logged=[], ended=0)

    def login(self, *, prompt: bool) -> bool:
        assert not prompt
        return self.known

    def init(self, **options: Any) -> None:
        print("A greeting")
        self.started.append(options)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged += [(step, name, value) for name, value in values.items()]

    def finish(self) -> None:
        self.ended += 1

    Image = staticmethod(lambda array: ("picture", array.shape))
    Histogram = staticmethod(lambda values: ("histogram", values))


def write_a_run(folder: Path, *track: str) -> EventAccumulator:
    folder.mkdir(exist_ok=True)
    log = MetricsLog(RunFolder(folder), track=track)
    for step in (2, 4):
        log.write(step, {"train/loss": 1 / step}, torch.tensor([0, 2, 1]))
        log.show(step, {"train/q_max": 3.0})
    log.image(4, "boards/validation", PICTURE)
    log.close()
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_same_figures_and_boards(tmp_path, monkeypatch, capsys, name) -> None:
    monkeypatch.setitem(sys.modules, name, stand := Stand())
    events = write_a_run(tmp_path / "mine", name)
    assert capsys.readouterr().out == ""
    (started,) = stand.started
    assert (started["project"], started["name"], stand.ended) == ("hrm_rl", "mine", 1)
    for tag in events.Tags()["scalars"]:
        shown = [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]
        assert [(step, value) for step, found, value in stand.logged if found == tag] == shown
    others = {tag: value for _, tag, value in stand.logged if isinstance(value, tuple)}
    tags = events.Tags()
    assert (
        others.keys() == {*tags["images"], *tags["histograms"]} == {"boards/validation", "rollout/segments"}
    )
    assert others["boards/validation"] == ("picture", PICTURE.shape)
    assert others["rollout/segments"] == ("histogram", [1, 1, 2])


@pytest.mark.parametrize(
    ("stand", "says"),
    [
        (None, "wandb failed (it is not installed: pip install -e "),
        (Stand(known=False), "wandb failed (not logged in: run `wandb login`, or set WANDB_MODE=offline)"),
    ],
)
def test_training_goes_on_without_one(tmp_path, monkeypatch, caplog, stand, says) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", stand)
    events = write_a_run(tmp_path, "wandb")
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4]
    assert caplog.text.count("training goes on without it") == 1 and says in caplog.text
    assert stand is not None or "[wandb]" in caplog.text


def test_names(monkeypatch) -> None:
    monkeypatch.setitem(TRACKERS, "mine", lambda run: None)
    assert check_trackers(["mine", "wandb", "TensorBoard", "mine"]) == ("mine", "wandb")
    with pytest.raises(ValueError, match="unknown tracker 'wandbb'; did you mean 'wandb'\\? known: TensorB"):
        check_trackers("wandbb")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_real_ones_offline(tmp_path, monkeypatch, caplog, name) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / name))
    pytest.importorskip(name)
    write_a_run(tmp_path / "mine", name)
    assert "failed" not in caplog.text
    written = [path for path in tmp_path.rglob("*") if path.suffix in (".wandb", ".db")]
    assert written and all(path.stat().st_size for path in written)
