import json
import math
import re
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hrm_rl.agents.learning.update import Rows, Update
from hrm_rl.training.report.metrics import IntervalMetrics, MetricsLog
from hrm_rl.training.run_folder import RunFolder


def lines(run) -> list[dict]:
    return [json.loads(line) for line in run.metrics_file.read_text().splitlines()]


def board(run) -> EventAccumulator:
    events = EventAccumulator(str(run.tensorboard), size_guidance={"images": 0})
    events.Reload()
    return events


def step_metrics(ended, correct, segments, q_halt, loss=1.0, **more) -> Update:
    losses = {"loss": loss, "token_loss": loss / 2, "q_halt_loss": 0.25, "q_continue_loss": 0.125}
    cells = [1.0 if c else 0.5 for c in correct]
    rows = (ended, correct, cells, segments, q_halt, q_halt, q_halt)
    losses = {name: torch.tensor(value) for name, value in (losses | more).items()}
    return Update(losses, Rows(*map(torch.tensor, rows)))


def test_intervals_by_hand() -> None:
    """Only rows whose episode ended count as episodes; losses are means over the steps."""
    metrics = IntervalMetrics(4, torch.device("cpu"))
    metrics.add(step_metrics([True, False], [True, True], [1, 2], [2.0, -2.0], loss=1.0))
    metrics.add(step_metrics([True, True], [False, True], [2, 4], [1.0, 0.0], loss=3.0))
    figures, histogram = metrics.take()
    assert figures.pop("time/steps_per_second") > 0
    assert figures == pytest.approx(
        {
            "train/loss": 2.0,
            "train/token_loss": 1.0,
            "train/q_halt_loss": 0.25,
            "train/q_continue_loss": 0.125,
            "rollout/episodes": 3,
            "rollout/exact_accuracy": 2 / 3,
            "rollout/cell_accuracy": 2.5 / 3,
            "rollout/q_halt_accuracy": 2 / 3,
            "rollout/mean_segments": 7 / 3,
        }
    )
    assert histogram.tolist() == [0, 1, 1, 0, 1]
    # The next interval starts at zero, and may have no episode.
    metrics.add(step_metrics([False], [True], [1], [1.0], loss=5.0))
    figures, histogram = metrics.take()
    assert figures["train/loss"] == 5.0 and figures["rollout/episodes"] == 0
    assert "rollout/exact_accuracy" not in figures and histogram.sum() == 0


def test_jointly_trained_halting_has_two_figures_more() -> None:
    metrics = IntervalMetrics(4, torch.device("cpu"))
    for price, segments in ((0.5, 3.0), (0.25, 2.0)):
        joint = {"halting_loss": price, "expected_segments": segments}
        metrics.add(step_metrics([True], [True], [4], [1.0], **joint))
    figures, _ = metrics.take()
    assert figures["train/halting_loss"] == 0.375 and figures["train/expected_segments"] == 2.5
    assert figures["train/loss"] == 1.0
    assert "train/halting_loss" not in metrics.take()[0]


def test_metrics_file_holds_a_json_object_a_line(finished) -> None:
    written = lines(RunFolder(finished))
    train = [line for line in written if "train/loss" in line]
    assert [line["step"] for line in train] == [2, 4, 6]
    rates = [line["train/learning_rate"] for line in train]
    assert rates == pytest.approx([1e-3 * 2 / 3, 1e-3, 1e-3])
    validations = [line for line in written if "eval/exact_accuracy" in line]
    assert [line["step"] for line in validations] == [3, 6]
    for line in train:
        assert {"rollout/episodes", "time/steps_per_second"} <= line.keys()
        assert math.isfinite(line["train/loss"])
        assert sum(line.get("rollout/segments", [])) == line["rollout/episodes"]
    ended = [line for line in train if line["rollout/episodes"]]
    assert ended and all(len(line["rollout/segments"]) == 3 for line in ended)
    names = {name.split("/")[0] for line in written for name in line}
    assert names == {"step", "train", "rollout", "eval", "time"}


def test_tensorboard_shows_the_same(finished) -> None:
    run = RunFolder(finished)
    events = board(run)
    for line in lines(run):
        for name, value in line.items():
            if name in ("step", "rollout/segments", "eval/max_segments", "eval/count"):
                continue
            shown = {event.step: event.value for event in events.Scalars(name)}
            assert shown[line["step"]] == pytest.approx(value, rel=1e-5), name
    histograms = events.Histograms("rollout/segments")
    assert {h.step for h in histograms} <= {2, 4, 6}
    for event in histograms:
        (line,) = [r for r in lines(run) if r["step"] == event.step and "rollout/segments" in r]
        assert event.histogram_value.num == sum(line["rollout/segments"])


def test_a_resumed_log_repeats_no_step(tmp_path) -> None:
    """The run went to step 8 after its last checkpoint, of step 4, when it was stopped in a line."""
    run = RunFolder(tmp_path)
    log = MetricsLog(run)
    for step in (2, 4, 6, 8):
        log.write(step, {"train/loss": float(step)})
    log.close()
    with run.metrics_file.open("a") as file:
        file.write('{"step": 10, "trai')
    time.sleep(1.1)  # TensorBoard reads event files by the second in their names
    log = MetricsLog(run, first_step=4)
    for step in (6, 8):
        log.write(step, {"train/loss": 10.0 + step})
    log.close()
    expected = [(2, 2.0), (4, 4.0), (6, 16.0), (8, 18.0)]
    assert [(line["step"], line["train/loss"]) for line in lines(run)] == expected
    assert [(e.step, e.value) for e in board(run).Scalars("train/loss")] == expected


def test_the_guide_lists_every_figure(finished) -> None:
    """docs/cli.md, the table of tags."""
    page = Path(__file__).parents[3].joinpath("docs", "cli.md").read_text()
    listed, shown = (
        set(re.findall(r"`((?:train|rollout|time|eval\w*|boards)/\w+)`", table.partition("\n\n")[0]))
        for table in page.split("| tag | |")[1:3]
    )
    lines = map(json.loads, (finished / "metrics.jsonl").read_text().splitlines())
    logged = {name for line in lines for name in line} - {"step"}
    assert listed == logged
    tags = board(RunFolder(finished)).Tags()
    only = {*tags["scalars"], *tags["images"]} - logged
    assert shown == {tag for tag in only if re.search(r"/(?!0[2-9])", tag)}
    files = page.partition("| in `runs/mine` | |")[2].partition("\n\n")[0]
    there = {path.name for path in finished.iterdir()} - {"checkpoints"}
    there |= {path.name for path in next((finished / "checkpoints").iterdir()).iterdir()}
    assert all(f"`{name.partition('tfevents')[0]}" in files for name in there)
