"""What follows a value that is not finite: `on_nan` stop, skip and roll-back."""

import dataclasses
import json

import pytest
import torch

from hrm_rl.agents import LearnerConfig, make_learner
from hrm_rl.agents.learning import learner
from hrm_rl.agents.learning.graphs import GraphedLearner
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.training.data import training_data
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import SudokuData
from hrm_rl.training.run_folder import RunFolder

LEARNERS = [
    {},
    {"optimizer": "adam-atan2"},
    {"q_target": "delayed"},
    {"q_target": "lambda:0.5"},
    {"halting_loss": "act"},
]


@pytest.fixture
def poison(monkeypatch):
    """Makes the token loss of the given calls NaN, of all rows or of one."""

    def calls(*numbers: int, rows=slice(None)) -> None:
        real, count = learner.token_loss, [0]

        def broken(*arguments):
            count[0] += 1
            loss = real(*arguments)
            if count[0] in numbers:
                factor = torch.ones_like(loss)
                factor[rows] = torch.nan
                return loss * factor
            return loss

        monkeypatch.setattr(learner, "token_loss", broken)

    return calls


@pytest.fixture
def trainer(preset, tmp_path):
    def make(name: str = "run", resume: bool = False, learner_changes=None, **changes) -> Trainer:
        config = LearnerConfig(**({"optimizer": "adamw", "warmup_steps": 3} | (learner_changes or {})))
        settings = {"max_steps": 12, "validate_every": 3, "log_every": 1, "learner": config}
        chosen = preset(**(settings | changes))
        run = RunFolder(tmp_path / name)
        made = Trainer(chosen, Compute(dtype="float32", threads=1), run)
        if resume:
            made.restore()
        run.store(made.preset, made.compute)
        return made

    return make


def state(trainer: Trainer) -> list[torch.Tensor]:
    weights = [p.detach().clone() for p in trainer.model.parameters()]
    optimizers = [o.state_dict()["state"] for o in trainer.learner.optimizers]
    tensors = [t for s in optimizers for one in s.values() for t in one.values()]
    return weights + [t.clone() for t in tensors]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def lines(trainer: Trainer) -> list[dict]:
    return [json.loads(line) for line in trainer.run.metrics_file.read_text().splitlines()]


def test_stop_names_the_loss_the_step_and_the_checkpoint(trainer, poison) -> None:
    poison(5)
    with pytest.raises(FloatingPointError, match=r"token_loss is not a number at step 5; .*step-0000003"):
        trainer().train(progress=False)


@pytest.mark.parametrize("changes", LEARNERS)
@pytest.mark.parametrize("rows", [slice(None), slice(1)])
def test_skip_leaves_the_update_out(trainer, poison, monkeypatch, changes, rows) -> None:
    poison(*(range(1, 4) if changes.get("halting_loss") else (1, 5)), rows=rows)
    run = trainer(on_nan="skip", learner_changes=changes)
    before, changed = state(run), []
    learn = run.learner.learn

    def followed(*arguments):
        update = learn(*arguments)
        nonlocal before
        now = state(run)
        changed.append(not same(before[: len(now)], now[: len(before)]))
        before = now
        return update

    monkeypatch.setattr(run.learner, "learn", followed)
    assert run.train(progress=False)["steps"] == 12
    skipped = [line["train/skipped"] for line in lines(run) if "train/skipped" in line]
    if changes.get("halting_loss"):  # one update an episode of 3 segments
        assert skipped == [0, 0, 1, *[0] * 9] and [i for i, c in enumerate(changed) if c] == [5, 8, 11]
    else:
        assert skipped == [1, 0, 0, 0, 1, *[0] * 7]
        # The first makes the optimizer's state, of zeros.
        assert [i for i, c in enumerate(changed) if not c] == [0, 4]
    assert all(t.isfinite().all() for t in state(run))
    assert all(z.isfinite().all() for z in run.learner.carry)
    losses = [line["train/token_loss"] for line in lines(run) if "train/token_loss" in line]
    assert all(0 <= loss < 10 for loss in losses)


def test_skip_is_reported(trainer, poison, caplog) -> None:
    poison(3, 4, 5, 9)
    run = trainer(on_nan="skip", log_every=2)
    run.train(progress=False)
    found = {line["step"]: line for line in lines(run) if "train/skipped" in line}
    assert [found[step]["train/skipped"] for step in range(2, 13, 2)] == [0, 1, 0.5, 0, 0.5, 0]
    assert "train/token_loss" not in found[4] and 1 < found[6]["train/token_loss"] < 3
    assert [step for step in found if "alarm/skipped" in found[step]] == [4, 10]
    assert "step 4: 100 % of the updates since the last line were not finite" in caplog.text


def test_skip_changes_nothing_where_all_is_finite(trainer) -> None:
    runs = [trainer(name, on_nan=name) for name in ("stop", "skip", "roll-back")]
    for run in runs:
        run.train(progress=False)
    assert same(state(runs[0]), state(runs[1])) and same(state(runs[0]), state(runs[2]))


def test_skip_gives_rows_with_a_broken_carry_a_fresh_one(tiny_hrm) -> None:
    model = tiny_hrm()
    made = make_learner(model, 3, LearnerConfig(optimizer="adamw"))
    guard = made.skip_broken()
    z = torch.randn_like(made.carry.z_H)
    z[1, 0, 0] = torch.inf
    cleaned, fresh = guard.carry(made.carry._replace(z_H=z)), model.initial_carry(3)
    assert torch.equal(cleaned.z_H[[0, 2]], z[[0, 2]]) and torch.equal(cleaned.z_H[1], fresh.z_H[1])


def test_skip_refuses_weights_that_would_not_be_finite(trainer) -> None:
    run = trainer(on_nan="skip", learner_changes={"lr": 1e38, "weight_decay": 0.1, "warmup_steps": 0})
    run.train(progress=False)
    assert all(t.isfinite().all() for t in state(run))
    assert sum(line.get("train/skipped", 0) for line in lines(run)) >= 1


def test_skip_ends_after_many_in_a_row(trainer, poison) -> None:
    poison(*range(1, 1000))
    run = trainer(on_nan="skip", max_steps=300, validate_every=300, log_every=25)
    with pytest.raises(FloatingPointError, match="the last 100 updates were not finite and left out"):
        run.train(progress=False)
    assert run.learner.step == 100


@pytest.mark.parametrize("changes", LEARNERS)
def test_roll_back_goes_on_from_the_checkpoint_with_other_puzzles(trainer, poison, caplog, changes) -> None:
    fault = 8 if changes.get("halting_loss") else 5  # an episode of 3 segments computes each loss twice
    poison(fault)
    first = trainer("first", on_nan="roll-back", learner_changes=changes)
    assert first.train(progress=False)["steps"] == 12
    assert "token_loss is not a number at step 5" in caplog.text
    assert "Back from step 5 to 3, time 1 of 3, with other puzzles" in caplog.text
    steps = [line["step"] for line in lines(first) if "train/loss" in line]
    assert steps == list(range(1, 13))
    poison(fault)
    second = trainer("second", on_nan="roll-back", learner_changes=changes)
    second.train(progress=False)
    assert same(state(first), state(second))


def test_a_resume_after_a_roll_back_is_exact(trainer, poison) -> None:
    poison(5)
    whole = trainer("whole", on_nan="roll-back")
    whole.train(progress=False)
    poison(5)
    part = trainer("part", on_nan="roll-back", max_steps=6)
    part.train(progress=False)
    resumed = trainer("part", resume=True, on_nan="roll-back")
    resumed.train(progress=False)
    assert same(state(whole), state(resumed))


def test_roll_back_ends_at_the_fourth_time(trainer, poison, caplog) -> None:
    poison(*range(5, 1000))
    with pytest.raises(FloatingPointError, match="fault number 4 after step 3: training stops"):
        trainer(on_nan="roll-back").train(progress=False)
    assert caplog.text.count("Back from step") == 3


def test_roll_back_without_a_checkpoint_stops(trainer, poison) -> None:
    poison(2)
    with pytest.raises(FloatingPointError, match="no checkpoint was made before"):
        trainer(on_nan="roll-back").train(progress=False)


def test_skip_works_in_recorded_steps(tiny_hrm, tape) -> None:
    """The recorded step decides by itself: the tape runs no Python of ours again."""
    model = tiny_hrm()
    config = LearnerConfig(optimizer="adamw", warmup_steps=0)
    made = GraphedLearner(model, 4, config, recorder=tape())
    guard = made.skip_broken()
    data = training_data(SudokuData(size=4, train_puzzles=20, validation_puzzles=4))
    envs = PuzzleVectorEnv(4, data.source, halt_max_steps=model.config.halt_max_steps)
    obs, info = envs.reset(seed=0)
    skipped = []
    for step in range(8):
        if step == 6:  # a broken carry; rows of new puzzles have a fresh one
            made.carry.z_H.fill_(torch.nan)
            obs["segment"].fill_(1)
        before = [p.detach().clone() for p in model.parameters()]
        out, action = made.act(obs)
        obs_next, _, ended, _, after = envs.step(action)
        update = made.learn(out, obs, info["labels"], ended, after)
        skipped.append(float(update["skipped"]))
        now = [p.detach() for p in model.parameters()]
        assert same(before, now) == (skipped[-1] == 1)
        obs, info = obs_next, after
    assert skipped == [0] * 6 + [1, 0] and int(guard.in_a_row) == 0


def test_on_nan_is_checked(preset) -> None:
    with pytest.raises(ValueError, match="on_nan must be one of stop, skip, roll-back"):
        dataclasses.replace(preset(), on_nan="ignore")
