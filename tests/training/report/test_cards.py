"""TensorBoard: settings, the gradient's norm, no cards of constants, and runs named by their folders."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from hrm_rl.training.report.gradient import GradientNorm, _sparse_norm
from hrm_rl.training.run_folder import RunFolder

JOINT = {"halting_loss": "ponder"}
KINDS = {
    "q": {},
    "ponder": {"learner": JOINT},
    "one-segment": {"model": {"halt_max_steps": 1}},
    "no-target": {"learner": {"q_target": "none"}},
    "rising-rate": {"learner": {"warmup_steps": 5}},
}


@pytest.fixture(scope="module")
def runs(start, preset, tmp_path_factory) -> Path:
    """A run of each kind in one folder."""
    folder = tmp_path_factory.mktemp("runs")
    for name, changes in KINDS.items():
        parts = {
            part: dataclasses.replace(getattr(preset(), part), **given) for part, given in changes.items()
        }
        start(folder / name, max_steps=12, log_every=4, validate_every=6, **parts).train(False)
    return folder


@pytest.fixture(scope="module")
def boards(runs) -> EventMultiplexer:
    found = EventMultiplexer().AddRunsFromDirectory(str(runs))
    return found.Reload()


def test_runs_are_named_by_their_folders(boards) -> None:
    assert boards.Runs().keys() == KINDS.keys()


def test_a_run_of_an_earlier_version_goes_on_in_its_own_folder(tmp_path) -> None:
    assert RunFolder(tmp_path).tensorboard == tmp_path
    (tmp_path / "tensorboard").mkdir()
    assert RunFolder(tmp_path).tensorboard == tmp_path / "tensorboard"


@pytest.mark.parametrize("name", KINDS)
def test_no_card_is_constant_and_only_constants_have_none(boards, runs, name: str) -> None:
    """But for accuracies and numbers of segments, which a longer run may change."""
    scalars = boards.Runs()[name]["scalars"]
    lines = map(json.loads, (runs / name / "metrics.jsonl").read_text().splitlines())
    figures: dict[str, set] = {}
    for line in lines:
        for figure, value in line.items():
            figures.setdefault(figure, set()).add(json.dumps(value))
    for figure in figures.keys() - set(scalars) - {"step"}:
        assert len(figures[figure]) == 1 or figure == "rollout/segments", figure
    assert ("train/learning_rate" in scalars) == (name == "rising-rate")
    may = ("accuracy", "after_segment", "mean_segments")
    for tag in scalars:
        values = [event.value for event in boards.Scalars(name, tag)]
        alike = len(values) > 1 and len(set(values)) == 1
        assert not alike or any(word in tag for word in may), (tag, values)
    assert "train/token_loss" in scalars and "train/gradient_norm" in scalars
    assert not {"eval/count", "eval/max_segments"} & set(scalars)


@pytest.mark.parametrize("name", KINDS)
def test_settings_are_text_and_hyperparameters(boards, runs, name: str) -> None:
    (text,) = boards.Tensors(name, "config/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert (runs / name / "config.toml").read_text() in shown
    content = boards.SummaryMetadata(name, metadata.SESSION_START_INFO_TAG).plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert session["learner.lr"].number_value == pytest.approx(1e-3)
    assert session["model.pos_encodings"].string_value and session["batch_size"].number_value


def test_gradient_norms_are_those_of_the_steps_written(start, tmp_path, monkeypatch) -> None:
    """Measured at every step by hand; the run measures at the steps that it writes, and at no other."""
    trainer, norms, measured = start(tmp_path / "run", max_steps=6, log_every=4), [], []
    apply, measure = trainer.learner.apply_gradients, GradientNorm._measure

    def applied() -> None:
        squares = [p.grad.square().sum() for p in trainer.model.parameters() if p.grad is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))
        apply()

    def counted(self, *given) -> None:
        measured.append(self.due)
        measure(self, *given)

    monkeypatch.setattr(trainer.learner, "apply_gradients", applied)
    monkeypatch.setattr(GradientNorm, "_measure", counted)
    trainer.train(False)
    events = EventAccumulator(str(trainer.run.tensorboard)).Reload().Scalars("train/gradient_norm")
    written = [event.value for event in events]
    assert [event.step for event in events] == [4, 6]
    assert written == pytest.approx([norms[3], norms[5]])
    assert measured == [False, False, False, True, False, True]


def test_the_norm_of_a_sparse_gradient_adds_the_rows_of_one_index() -> None:
    index = torch.tensor([[4, 0, 4, 2, 4]])
    sparse = torch.sparse_coo_tensor(index, torch.randn(5, 3), (6, 3))
    torch.testing.assert_close(_sparse_norm(sparse), sparse.to_dense().norm())


def test_a_figure_for_each_segment_of_the_limit(boards, preset) -> None:
    tags = [tag for tag in boards.Runs()["q"]["scalars"] if tag.startswith("eval_after_segment/")]
    limit = preset().model.halt_max_steps
    assert tags == [f"eval_after_segment/{k:02d}" for k in range(1, limit + 1)]
    assert [event.step for event in boards.Scalars("q", tags[0])] == [6, 12]
