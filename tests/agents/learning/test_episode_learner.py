"""Jointly trained halting: the gradient is that of the whole episode's loss, and a resume is exact."""

import pytest
import torch

from hrm_rl.agents import EpisodeLearner, Learner, LearnerConfig, make_learner
from hrm_rl.agents.learning.halting_loss import ACT, HALTING_LOSSES
from hrm_rl.agents.learning.losses import token_loss
from hrm_rl.envs import Judgement, PoolSource
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.model.noise import step_keys
from hrm_rl.puzzles import sudoku

KINDS = [name for name, loss in HALTING_LOSSES.items() if loss.whole_episodes]


def restless(model):
    """Halt logits about 0 that differ between rows and segments."""
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(model.q_head.weight, std=0.3, generator=generator)
    torch.nn.init.zeros_(model.q_head.bias)
    return model


@pytest.mark.parametrize("halting", KINDS)
@pytest.mark.parametrize("gradient", ["one-step", "full"])
def test_gradient_is_that_of_the_whole_episode(loop, hrm, monkeypatch, halting, gradient) -> None:
    model = restless(hrm(forward_dtype="float64", puzzle_emb_ndim=16)).double()
    # Not rounded to float32.
    monkeypatch.setattr(model, "q_values", lambda first: model.q_head(first).unbind(-1))
    price = {"act_cost": 0.2, "ponder_weight": 0.3}
    noise = {"path_noise": 0.3, "random_start": True} if gradient == "full" else {}
    game = loop(model, rows=5, halting_loss=halting, gradient=gradient, **price, **noise)
    found = {}

    def note() -> None:
        for name, p in model.named_parameters():
            found[name] = p.grad.to_dense().clone()
            p.grad = None

    monkeypatch.setattr(game.learner, "apply_gradients", note)
    puzzle, labels = game.obs, game.info["labels"]
    right = []
    for _ in range(4):
        assert not found
        right.append(game.step()["correct"])
    assert game.terminated.all()

    carry, q_halt, ce = model.initial_carry(5), [], []
    for segment in range(4):
        keys = step_keys(0, torch.arange(5), segment)
        carry = game.learner.config.noise(carry, keys, torch.full((5,), segment))
        out = model(carry, puzzle["inputs"], puzzle["puzzle_identifiers"], gradient=gradient)
        q_halt.append(out.q_halt)
        ce.append(token_loss(out.logits, labels))
        carry = out.carry
    game.learner.stopping(torch.stack(ce), torch.stack(q_halt), torch.stack(right)).loss.mean().backward()
    assert found.keys() == {name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        assert p.grad.to_dense().abs().max() > 0
        torch.testing.assert_close(found[name], p.grad.to_dense(), atol=1e-14, rtol=1e-11)


def test_a_loss_is_given_which_drafts_were_right(loop, hrm) -> None:
    seen = []

    class Watched(ACT):
        def __call__(self, losses, q_halt, correct=None):
            seen.append(correct)
            return super().__call__(losses, q_halt)

    game = loop(hrm(), halting_loss="act")
    game.learner.stopping = Watched(0.1, 0.01)
    right = [game.step()["correct"] for _ in range(4)]
    assert torch.equal(seen[0], torch.stack(right))


@pytest.mark.parametrize("halting", KINDS)
def test_episodes_run_to_the_limit_and_each_is_one_update(loop, hrm, halting) -> None:
    game = loop(restless(hrm()), halting_loss=halting, lr=1e-2)
    seen = []
    for step in range(1, 9):
        before = game.model.lm_head.weight.clone()
        m = game.step()
        moved = not torch.equal(before, game.model.lm_head.weight)
        assert moved == (step % 4 == 0) == bool(game.terminated.all()) == bool(m["ended"].all())
        assert game.learner.step == step
        assert not game.action["halt"].any()
        seen.append((m["loss"].item(), m["expected_segments"].item()))
    assert seen[:3] == [(0, 0)] * 3 and seen[3] == seen[6] != seen[7]
    assert all(loss > 0 and 1 <= segments <= 4 for loss, segments in seen[3:])


@pytest.mark.parametrize("halting", KINDS)
def test_a_resume_within_an_episode_is_bit_for_bit_the_run(loop, hrm, halting) -> None:
    def start():
        model = restless(hrm(puzzle_emb_ndim=16))
        return loop(model, halting_loss=halting, seed=3, warmup_steps=5)

    whole, first, second = start(), start(), start()
    wanted = whole.steps(13)
    first.steps(6)
    for m, as_before in zip(second.take_up(first).steps(7), wanted[6:], strict=True):
        torch.testing.assert_close(dict(m), dict(as_before), rtol=0, atol=0)
    second.check_equals(whole)


def test_a_row_without_labels_teaches_nothing(hrm) -> None:
    """What the other rows teach is the same, whatever stands in the padded one."""
    found = []
    for fill in (1, 5):
        model = restless(hrm(halt_max_steps=2))
        learner = make_learner(model, 2, LearnerConfig(halting_loss="ponder", warmup_steps=0))
        inputs = torch.full((2, 16), fill)
        inputs[0] = 2
        labels = torch.full((2, 16), -100)
        labels[0] = 3
        no = torch.zeros(2, dtype=torch.bool)
        for segment in range(2):
            obs = {"inputs": inputs, "puzzle_identifiers": no.long(), "segment": no + segment}
            out, _ = learner.act(obs)
            judged = Judgement.all_wrong(obs["segment"] + 1)
            m = learner.learn(out, obs, labels, no | (segment == 1), judged)
        assert m["ended"].tolist() == [True, False]
        found.append(model.lm_head.weight.detach())
    torch.testing.assert_close(*found)


# --- it learns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "cheap", "dear"),
    [
        ("act:0.99", {"act_cost": 0.0}, {"act_cost": 0.2}),
        ("ponder:0.5", {"ponder_prior": 0.1}, {"ponder_prior": 0.9}),
    ],
)
def test_it_learns_the_puzzles_and_stops_earlier_if_segments_cost_more(loop, hrm, rule, cheap, dear) -> None:
    """Eight puzzles by heart: none solved at first, most at the end, in fewer segments if dear."""
    puzzles = sudoku.generate(8, 4, seed=0, extra_givens=(5, 7))
    source = PoolSource(puzzles, sudoku.vocab_size(4))
    segments = []
    for price in (cheap, dear):
        model = hrm(hidden_size=32, num_heads=4, halt_max_steps=3, H_cycles=1, L_cycles=1)
        torch.nn.init.constant_(model.q_head.bias, -1.0)  # neither sure to stop nor to go on
        recipe = {"optimizer": "adamw", "lr": 6e-3, "weight_decay": 0.1, "warmup_steps": 20}
        recipe |= {"halting_loss": rule.partition(":")[0], "ponder_weight": 0.1}
        game = loop(model, source=source, **recipe, **price)
        assert evaluate(model, puzzles, rule).correct.mean() < 0.2
        game.steps(165)
        result = evaluate(model, puzzles, rule)
        assert result.correct.mean() > 0.6
        segments.append(result.segments.mean())
    assert segments[1] <= segments[0] - 0.5


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("halting", KINDS)
def test_rows_out_of_step_are_refused(loop, hrm, halting) -> None:
    game = loop(restless(hrm()), halting_loss=halting)
    game.step()
    game.obs, game.info = game.envs.reset(seed=1, options={"reset_mask": torch.arange(8) < 3})
    with pytest.raises(ValueError, match=f"halting_loss '{halting}' learns from whole episodes"):
        game.steps(4)


def test_each_halting_loss_has_its_learner(hrm) -> None:
    model = hrm()
    assert type(make_learner(model, 2, LearnerConfig())) is Learner
    for halting in KINDS:
        config = LearnerConfig(halting_loss=halting)
        assert type(make_learner(model, 2, config)) is EpisodeLearner
        with pytest.raises(ValueError, match="make_learner gives the right learner"):
            Learner(model, 2, config)
        with pytest.raises(ValueError, match=f"'{halting}' needs halt_max_steps of 2 or more"):
            make_learner(hrm(halt_max_steps=1), 2, config)
    with pytest.raises(ValueError, match="make_learner gives the right learner"):
        EpisodeLearner(model, 2, LearnerConfig())
