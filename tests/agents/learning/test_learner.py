"""Learner: its decisions and exploration, what an update is made of, exact resumes, and refusals."""

import dataclasses

import pytest
import torch

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.agents.learning.q_targets import continue_target
from hrm_rl.envs import Judgement, PuzzleVectorEnv
from hrm_rl.halting import parse_rule
from hrm_rl.model.hrm import SegmentOutput
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.training.machine.fixed_step import fixed_observation


def output(model, q_halt, q_continue) -> SegmentOutput:
    """A segment's output with Q values of our choosing."""
    rows = len(q_halt)
    logits = torch.zeros(rows, model.config.seq_len, model.config.vocab_size)
    carry = model.initial_carry(rows)
    return SegmentOutput(carry, logits, torch.tensor(q_halt), torch.tensor(q_continue))


# --- acting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q_target", "q_continue", "wanted"),
    [("full", [0.0, -2.0, 0.5], [True, True, False]), ("none", [0.0, -2.0, 9.0], [True, False, True])],
)
def test_halts_by_the_rule_that_it_trains_for(hrm, q_target, q_continue, wanted) -> None:
    """q_halt > q_continue, or without a target q_halt > 0; without exploration nothing is drawn."""
    learner = Learner(hrm(halt_exploration_prob=0.0), 3, LearnerConfig(q_target=q_target))
    state = learner.generator.get_state()
    out = output(learner.model, [1.0, -1.0, 0.5], q_continue)
    assert learner.decide(out, torch.zeros(3).long())["halt"].tolist() == wanted
    assert torch.equal(learner.generator.get_state(), state)
    assert learner.rule == ("q" if q_target == "full" else "q-halt:0")


@pytest.mark.parametrize("exploration", ["step", "episode"])
def test_exploration_draws_a_floor(hrm, exploration) -> None:
    """With its probability, uniformly in 2..5; later again, or only where an episode begins."""
    rows, floors = 4000, []
    model = hrm(halt_max_steps=5, halt_exploration_prob=0.4)
    learner = Learner(model, rows, LearnerConfig(exploration=exploration))
    out = output(model, [9.0] * rows, [0.0] * rows)
    for segment in (torch.zeros(rows).long(), torch.tensor([0, 1]).repeat(rows // 2)):
        halt = learner.decide(out, segment)["halt"]
        assert torch.equal(halt, segment + 1 >= learner._floor)
        floors.append(learner._floor.clone())
    counts = torch.bincount(floors[0], minlength=6) / rows
    torch.testing.assert_close(counts, torch.tensor([0.6, 0, *[0.1] * 4]), atol=0.02, rtol=0)
    assert counts[1] == 0
    begins, goes_on = ((floors[0] == floors[1])[of::2].float().mean() for of in (0, 1))
    by_chance = pytest.approx(0.6**2 + 4 * 0.1**2, abs=0.03)
    assert begins == by_chance and goes_on == (1 if exploration == "episode" else by_chance)


# --- learning -------------------------------------------------------------------------------------


def test_target_comes_from_the_next_segment_on_the_same_puzzle(loop, hrm) -> None:
    """For every row, halted too, from the carry before its reset and the weights before the update."""
    model = hrm(halt_max_steps=2)
    torch.nn.init.normal_(model.q_head.weight)
    game = loop(model)
    game.step()
    inputs, segment = game.obs["inputs"].clone(), game.obs["segment"].clone()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    m = game.step()
    assert int(game.terminated.sum()) > 0
    model.load_state_dict(before)
    with torch.no_grad():
        after = model(game.out.carry, inputs, torch.zeros(8, dtype=torch.int64))
    wanted = continue_target(after.q_halt, after.q_continue, segment + 1 >= 2)
    torch.testing.assert_close(m["q_target"], wanted)


def test_both_forms_of_learn_are_one(loop) -> None:
    """The older form reads what ended from the info."""
    old, new = loop(q_target="delayed"), loop(q_target="delayed")
    for _ in range(5):
        wanted = new.step()
        out, action = old.learner.act(old.obs)
        next_obs, *_, next_info = old.envs.step(action)
        found = old.learner.learn(out, old.obs, old.info["labels"], next_info)
        old.obs, old.info = next_obs, next_info
        assert dict(found).keys() == dict(wanted).keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert set(found.losses) | set(found.rows._fields) == set(found)
    with pytest.raises(ValueError, match="needs the step's info"):
        old.learner.learn(out, old.obs, old.info["labels"], new.terminated)


@pytest.mark.parametrize(("shape", "changes"), [({}, {"q_target": "none"}), ({"halt_max_steps": 1}, {})])
def test_without_a_next_segment_to_learn_from_the_continue_head_stays(loop, hrm, shape, changes) -> None:
    game = loop(hrm(**shape), optimizer="adamw", weight_decay=0.0, **changes)
    for m in game.steps(4):
        assert m["q_continue_loss"] == 0
        assert not shape or (m["ended"].all() and (m["segments"] == 1).all())
    head = game.model.q_head
    assert head.bias[1] == -5 and (head.weight[1] == 0).all()
    assert head.bias[0] != -5


def test_padded_row_teaches_only_that_halting_on_it_is_right(hrm) -> None:
    obs, labels = fixed_observation(torch.ones(2, 16).long()), torch.full((2, 16), IGNORE_LABEL)
    learner, judged = Learner(hrm(halt_max_steps=1), 2), Judgement.all_wrong(torch.ones(2).long())
    m = learner.learn(learner.act(obs)[0], obs, labels, ~judged.correct, judged)
    assert m["token_loss"] == 0
    torch.testing.assert_close(m["q_halt_loss"], -torch.tensor(-5.0).sigmoid().log())
    assert not m["ended"].any()  # no episode to count


def test_learning_rates_follow_the_schedule(loop, hrm) -> None:
    """Puzzle embeddings have their own rate, by which sign-SGD moves them from zero."""
    game = loop(hrm(puzzle_emb_ndim=16), lr=1e-2, puzzle_emb_lr=0.4, warmup_steps=4)
    rates = []
    for _ in range(6):
        game.step()
        rates.append(game.learner.learning_rate)
        if len(rates) == 1:
            table = game.model.puzzle_emb.weights
            torch.testing.assert_close(table.abs(), torch.full_like(table, 0.1))
    assert rates == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2, 1e-2, 1e-2])


def test_loss_is_the_tokens_and_the_weighted_q_losses(loop, hrm) -> None:
    m = loop(hrm(halt_exploration_prob=0.0), q_loss_weight=0.125, label_smoothing=0.2).step()
    weighted = m["token_loss"] + 0.125 * (m["q_halt_loss"] + m["q_continue_loss"])
    torch.testing.assert_close(m["loss"], weighted)


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("q_target", ["full", "delayed", "lambda:0.5", "every:2"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"exploration": "episode", "optimizer": "adamw"},
        {"random_start": True, "path_noise": 0.1},
        {"optimizer": "muon", "label_smoothing": 0.1, "q_loss_weight": 0.2},
    ],
)
def test_a_resume_is_bit_for_bit_the_run(loop, hrm, q_target, changes) -> None:
    def start():
        model = hrm(puzzle_emb_ndim=16, halt_exploration_prob=0.5)
        with torch.no_grad():
            model.q_head.bias[0] = -4.0  # wants to halt: the floor drawn for a row decides
        return loop(model, q_target=q_target, seed=3, warmup_steps=5, **changes)

    whole, first, second = start(), start(), start()
    whole.steps(7)
    first.steps(3)
    second.take_up(first).steps(4)
    second.check_equals(whole)
    assert second.learner.step == 7


def test_same_seed_same_run_and_another_seed_another(loop, hrm) -> None:
    def run(seed):
        model = hrm(halt_exploration_prob=0.5)
        torch.nn.init.constant_(model.q_head.bias, 0.0)
        with torch.no_grad():
            model.q_head.bias[0] = 1.0  # wants to halt at once: the floor alone decides
        game = loop(model, seed=seed)
        return torch.stack([m["segments"] for m in game.steps(5)])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


# --- settings -------------------------------------------------------------------------------------

Q_SETTINGS = {"q_target": "delayed", "exploration": "episode", "gamma": 0.9, "segment_cost": 0.1}
Q_SETTINGS["q_loss_weight"] = 0.1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "sgd"}, "optimizer.*adam-atan2, adamw, muon.*'sgd'"),
        ({"label_smoothing": 1.0}, r"label_smoothing.*\[0, 1\).*1.0"),
        ({"label_smoothing": -0.1}, r"label_smoothing.*\[0, 1\).*-0.1"),
        ({"q_loss_weight": -1.0}, "q_loss_weight.*-1.0"),
        ({"muon_lr": -1.0}, "muon_lr.*-1.0"),
        ({"path_noise": -0.1}, "path_noise.*-0.1"),
        ({"token_loss": "hinge"}, "token_loss.*'hinge'"),
        ({"gradient": "two-step"}, "gradient.*'two-step'"),
        ({"exploration": "always"}, "exploration.*step, episode.*'always'"),
        ({"q_target": "half"}, "q_target.*'half'"),
        ({"gamma": 0.0}, "gamma.*0.0"),
        ({"gamma": 1.1}, "gamma.*1.1"),
        ({"lr": -1.0}, "lr.*-1.0"),
        ({"weight_decay": float("nan")}, "weight_decay.*nan"),
        ({"betas": (0.9, 1.0)}, "betas.*1.0"),
        ({"warmup_steps": -1}, "warmup_steps.*-1"),
        ({"segment_cost": -0.1}, "segment_cost.*-0.1"),
        ({"total_steps": 0}, "total_steps.*0"),
        ({"lr_min_ratio": 0.1}, "lr_min_ratio needs total_steps"),
        ({"halting_loss": "both"}, "halting_loss.*q, act, ponder.*'both'"),
        ({"ponder_prior": 0.0}, "ponder_prior.*0.0"),
        ({"ponder_prior": 1.0}, "ponder_prior.*1.0"),
        ({"ponder_weight": -1.0}, "ponder_weight.*-1.0"),
        ({"act_cost": float("nan")}, "act_cost.*nan"),
        ({"act_epsilon": 0.0}, "act_epsilon.*0.0"),
        *(
            ({"halting_loss": loss, name: value}, f"^{name} .*halting_loss '{loss}'.*must be")
            for loss in ("act", "ponder")
            for name, value in Q_SETTINGS.items()
        ),
    ],
)
def test_bad_settings_are_refused_by_name(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        LearnerConfig(**settings)


def test_stored_settings_may_have_their_older_names() -> None:
    stored = {"halting": "ponder", "betas": [0.8, 0.9]}
    wanted = LearnerConfig(halting_loss="ponder", betas=(0.8, 0.9))
    assert LearnerConfig.from_dict(stored) == wanted
    assert LearnerConfig.from_dict(dataclasses.asdict(wanted)) == wanted


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({}, "q"),
        ({"q_target": "none"}, "q-halt:0"),
        ({"halting_loss": "act"}, "act:0.99"),
        ({"halting_loss": "act", "act_epsilon": 0.25}, "act:0.75"),
        ({"halting_loss": "ponder"}, "ponder:0.5"),
    ],
)
def test_rule_that_training_is_for(settings, rule) -> None:
    found = LearnerConfig(**settings).rule
    assert found == rule and str(parse_rule(found)) in (rule, "q-halt:0.0")


def test_defaults_are_the_references_sudoku_recipe() -> None:
    network = {"optimizer": "adam-atan2", "lr": 1e-4, "weight_decay": 1.0, "betas": (0.9, 0.95)}
    table = {"puzzle_emb_lr": 1e-4, "puzzle_emb_weight_decay": 1.0}
    schedule = {"warmup_steps": 2000, "lr_min_ratio": 1.0}
    loss = {"token_loss": "stablemax", "gradient": "one-step", "q_target": "full"}
    halting = {"exploration": "step", "gamma": 1.0, "segment_cost": 0.0}
    assert LearnerConfig() == LearnerConfig(**network, **table, **schedule, **loss, **halting)


def test_rows_reset_from_outside_start_on_a_fresh_carry(loop) -> None:
    run = loop()
    run.steps(2)
    obs, _ = run.envs.reset(seed=5)
    out, _ = run.learner.act(obs)
    run.learner.carry = run.model.initial_carry(run.learner.num_envs)
    fresh, _ = run.learner.act(obs)
    assert torch.equal(out.logits, fresh.logits)


@pytest.mark.parametrize(
    ("model", "envs", "words"),
    [
        ({}, {"halt_max_steps": 16}, "halt_max_steps is 16 in the environments but 4 in the model"),
        ({}, {"segment_cost": 0.0}, "segment_cost is 0.0 .* but 0.1"),
        ({}, {"autoreset_mode": "NextStep"}, "autoreset_mode is .*NEXT_STEP"),
        ({"seq_len": 81, "vocab_size": 3}, {}, r"seq_len is 16 .* 81 .*; .* have \d tokens .* 3"),
    ],
)
def test_environments_that_do_not_fit_are_refused(hrm, easy_source, model, envs, words) -> None:
    config, right = LearnerConfig(segment_cost=0.1), {"halt_max_steps": 4, "segment_cost": 0.1}
    learner = Learner.for_envs(hrm(), PuzzleVectorEnv(3, easy_source, **right), config)
    assert learner.num_envs == 3 and learner.config is config
    with pytest.raises(ValueError, match=words):
        Learner.for_envs(hrm(**model), PuzzleVectorEnv(3, easy_source, **right | envs), config)


def test_another_number_of_rows_is_named(hrm, easy_source) -> None:
    obs, _ = PuzzleVectorEnv(5, easy_source).reset(seed=0)
    with pytest.raises(ValueError, match=r"inputs \[3, 16\], got \[5, 16\]"):
        Learner(hrm(), 3).act(obs)
