"""A run from beginning to end, and interrupted."""

import dataclasses
import signal

import pytest
import torch

from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRM
from hrm_rl.process.stopping import SIGNALS
from hrm_rl.training.average import WeightAverage
from hrm_rl.training.config.doubtful import episode_note, stretch_note, warmup_note
from hrm_rl.training.presets import find_preset
from hrm_rl.training.run_folder import RunFolder


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_a_checkpoint_is_the_weight_average_if_there_is_one(start, tmp_path, decay) -> None:
    trainer = start(tmp_path / "run", ema_decay=decay)
    trainer.train(progress=False)
    model, step = RunFolder(tmp_path / "run").load_model()
    assert step == 6 and same(model.state_dict(), trainer.evaluated_model.state_dict())
    assert same(model.state_dict(), trainer.model.state_dict()) == (decay == 0)


@pytest.mark.parametrize(
    "kind",
    [
        {"q_target": "full"},
        {"q_target": "delayed"},
        {"q_target": "none"},
        # Four steps are an episode of three segments and the first of another.
        {"halting_loss": "act"},
        {"halting_loss": "ponder"},
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "adam-atan2"])
def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(tmp_path, start, kind, optimizer) -> None:
    learner = LearnerConfig(optimizer=optimizer, lr=1e-3, warmup_steps=5, **kind)
    changes = {"learner": learner, "validate_every": 4}
    whole = start(tmp_path / "whole", max_steps=9, seed=5, **changes)
    whole.train(progress=False)
    start(tmp_path / "parts", max_steps=4, seed=5, **changes).train(progress=False)
    torch.manual_seed(99)  # the process's own random state does not matter
    resumed = start(tmp_path / "parts", resume=True, max_steps=9, seed=5, **changes)
    assert resumed.learner.step == 4
    resumed.train(progress=False)

    assert same(resumed.model.state_dict(), whole.model.state_dict())
    assert same(resumed.average.model.state_dict(), whole.average.model.state_dict())
    for a, b in zip(resumed.learner.carry, whole.learner.carry, strict=True):
        assert torch.equal(a, b)
    a, b = (t.envs.current() for t in (resumed, whole))
    assert all(torch.equal(a[0][name], b[0][name]) for name in a[0])
    assert torch.equal(a[1]["puzzle_key"], b[1]["puzzle_key"])


def test_a_run_without_a_whole_episode_is_noted() -> None:
    preset = find_preset("sudoku-4x4")
    learner = dataclasses.replace(preset.learner, halting_loss="act", q_target="full")
    short = dataclasses.replace(preset, learner=learner).with_max_steps(7)
    assert "max_steps=7 < halt_max_steps=8" in str(episode_note(short))
    assert episode_note(short.with_max_steps(8)) is None
    assert episode_note(preset.with_max_steps(7)) is None


def test_a_run_that_ends_in_its_warm_up_is_noted_once(tmp_path, start, caplog) -> None:
    assert warmup_note(find_preset("sudoku-4x4").with_max_steps(60)) == (
        "warmup_steps=100 >= max_steps=60: the learning rate never reaches 0.002; "
        "a tenth of the steps would be --learner.warmup-steps 6"
    )
    trainer = start(tmp_path / "run", max_steps=2)  # of a warm-up of 3
    trainer.train(progress=False)
    (note,) = [r.getMessage() for r in caplog.records if "warmup_steps" in r.getMessage()]
    assert note.startswith("warmup_steps=3 >= max_steps=2: the learning rate never reaches 0.001;")
    assert trainer.learner.learning_rate == pytest.approx(0.001 * 2 / 3)
    caplog.clear()
    trainer = start(tmp_path / "just", max_steps=3)
    trainer.train(progress=False)
    assert "reaches 0.001 at the last step only" in caplog.text
    assert trainer.learner.learning_rate == pytest.approx(0.001)
    assert warmup_note(find_preset("sudoku-4x4")) is None


def test_a_stretched_schedule_is_noted_with_its_rates(tmp_path, start) -> None:
    falls = LearnerConfig(optimizer="adamw", lr=1e-3, warmup_steps=2, lr_min_ratio=0.1, total_steps=6)
    start(tmp_path / "run", learner=falls).train(progress=False)
    stored = RunFolder(tmp_path / "run").config()[0]
    longer = stored.with_max_steps(9)
    assert stretch_note(stored, longer, 6) == (
        "The schedule goes from 6 to 9 steps with max_steps: at step 6 the learning rate changes from "
        "0.0001 to 0.000269 (--learner.total-steps 6 keeps the old schedule)"
    )
    trainer = start(tmp_path / "run", resume=True, learner=longer.learner, max_steps=7)
    trainer.train(progress=False)
    assert trainer.learner.learning_rate == pytest.approx(0.000269, rel=5e-3)
    # Nothing to tell of the same schedule, of a constant rate, or within the warm-up.
    constant = dataclasses.replace(stored, learner=LearnerConfig())
    assert stretch_note(stored, dataclasses.replace(stored, max_steps=9), 6) is None
    assert stretch_note(constant, constant.with_max_steps(9), 6) is None
    assert stretch_note(stored, longer, 1) is None


def test_seeds_decide_the_run(tmp_path, start) -> None:
    runs = [start(tmp_path / str(n), seed=seed, max_steps=2) for n, seed in enumerate((1, 1, 2))]
    for trainer in runs:
        trainer.train(progress=False)
    one, again, other = (trainer.model.state_dict() for trainer in runs)
    assert same(one, again) and not same(one, other)


def test_a_run_at_its_end_has_nothing_left_to_do(tmp_path, start) -> None:
    start(tmp_path / "run", max_steps=2).train(progress=False)
    resumed = start(tmp_path / "run", resume=True, max_steps=2)
    before = {k: v.clone() for k, v in resumed.model.state_dict().items()}
    assert resumed.train(progress=False)["steps"] == 2
    assert same(before, resumed.model.state_dict())


# --- the weight average ---------------------------------------------------------------------------


def test_average_by_hand(preset) -> None:
    model = HRM(preset().model)
    average = WeightAverage(model, 0.75)
    first = model.lm_head.weight.detach().clone()
    expected = first.clone()
    for shift in (1.0, -3.0):
        with torch.no_grad():
            model.lm_head.weight.add_(shift)
        average.update()
        expected = 0.75 * expected + 0.25 * model.lm_head.weight.detach()
    torch.testing.assert_close(average.model.lm_head.weight, expected)
    assert not average.model.lm_head.weight.requires_grad
    torch.testing.assert_close(model.lm_head.weight.detach(), first - 2)
    for decay in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
            WeightAverage(model, decay)


def test_ctrl_c_raises_once_the_step_is_saved(start, tmp_path) -> None:
    trainer = start(tmp_path / "run", max_steps=50)
    act = trainer.learner.act

    def interrupted(obs):
        if trainer.learner.step == 3:
            signal.raise_signal(signal.SIGINT)
        return act(obs)

    trainer.learner.act = interrupted
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        trainer.train(progress=False)
    assert trainer.run.latest_step() == 4
    assert [signal.getsignal(number) for number in SIGNALS] == before
