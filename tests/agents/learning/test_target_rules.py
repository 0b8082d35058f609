"""What each rule for Q_continue's target computes."""

import pytest
import torch

from hrm_rl.agents.learning.losses import q_loss
from hrm_rl.agents.learning.q_targets import Experience, continue_target, target_rule

BATCH = 8


@pytest.mark.parametrize(
    ("q_halt", "q_continue", "last", "price", "wanted"),
    [
        (1.0, 0.0, False, (), 0.7310586),  # the better of both
        (-2.0, 3.0, False, (), 0.9525741),
        (-2.0, 3.0, True, (), 0.1192029),  # only halting is left
        (2.0, 2.0, False, (0.9, 0.05), 0.9 * 0.8807971 - 0.05),
        (-9.0, -9.0, False, (1.0, 0.5), 0.0),  # stays a probability
    ],
)
def test_continue_target_by_hand(q_halt, q_continue, last, price, wanted):
    target = continue_target(*map(torch.tensor, (q_halt, q_continue, last)), *price)
    assert target.item() == pytest.approx(wanted, abs=1e-6)


@pytest.fixture
def model(tiny_hrm):
    model = tiny_hrm(seq_len=9, hidden_size=16)
    torch.nn.init.normal_(model.q_head.weight, std=0.5)
    torch.nn.init.zeros_(model.q_head.bias)
    return model


def experience(model, step=0, segments=1, ended=False, right=False, carry=None):
    """A segment on fixed puzzles; the arguments are one value for all rows, or a list with one for each."""
    inputs = torch.randint(6, (BATCH, 9), generator=torch.Generator().manual_seed(1))
    ids = torch.zeros(BATCH, dtype=torch.int64)
    out = model(carry or model.initial_carry(BATCH), inputs, ids)
    rows = [torch.as_tensor(given).expand(BATCH) for given in (segments, ended, right)]
    return Experience(model, out, inputs, ids, *rows, step)


def gradient(model, loss):
    model.zero_grad()
    loss.sum().backward(retain_graph=True)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_full_is_the_next_segments_better_value(model):
    now = experience(model, segments=[1, 2, 3, 4] * 2)
    loss, target = target_rule("full")(now)
    after = model(now.out.carry, now.inputs, now.puzzle_identifiers)
    best = torch.maximum(after.q_halt, after.q_continue)
    best[[3, 7]] = after.q_halt[[3, 7]]  # at the limit only halting is left
    torch.testing.assert_close(target, best.sigmoid())
    torch.testing.assert_close(loss, q_loss(now.out.q_continue, target))
    assert not target.requires_grad


def test_gamma_and_cost_price_the_target(model):
    now = experience(model)
    free = target_rule("full")(now).target
    priced = target_rule("full", gamma=0.9, segment_cost=0.3)(now).target
    torch.testing.assert_close(priced, (0.9 * free - 0.3).clamp(0, 1))
    assert (priced == 0).any() or (priced < free).all()


def test_every_k_skips_steps_and_keeps_the_mean(model):
    rule, full = target_rule("every:4"), target_rule("full")
    losses = [rule(experience(model, step=s)).loss for s in range(8)]
    expected = full(experience(model)).loss
    assert [bool(loss.any()) for loss in losses] == [True, False, False, False] * 2
    torch.testing.assert_close(sum(losses) / 8, expected)


@pytest.mark.parametrize("share", [0.125, 0.25, 0.5])
def test_subsample_has_the_gradient_of_full_in_expectation(model, share):
    rule = target_rule(f"subsample:{share}")
    steps = round(1 / share)
    gradients = [gradient(model, rule(experience(model, step=s)).loss) for s in range(steps)]
    wanted = gradient(model, target_rule("full")(experience(model)).loss)
    torch.testing.assert_close(torch.stack(gradients).mean(0), wanted, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(gradients[0], wanted, rtol=1e-2)


def test_subsample_visits_every_row_equally_often_where_the_share_does_not_divide(model):
    rule = target_rule("subsample:0.35")  # 3 of 8 rows
    seen = sum((rule(experience(model, step=s)).loss > 0).long() for s in range(8))
    assert seen.tolist() == [3] * BATCH


def test_delayed_learns_from_the_next_step_of_rows_that_go_on(model):
    rule = target_rule("delayed")
    ended = [False, True] * 4
    first = experience(model, ended=ended)
    assert not rule(first).loss.any()
    second = experience(model, segments=2, carry=first.out.carry, step=1)
    loss, target = rule(second)
    best = torch.maximum(second.out.q_halt, second.out.q_continue).sigmoid()
    going_on = ~torch.tensor(ended)
    torch.testing.assert_close(target[going_on], best[going_on])
    torch.testing.assert_close(loss[going_on], q_loss(first.out.q_continue, best)[going_on])
    assert not loss[~going_on].any()


@pytest.mark.parametrize("spec", ["delayed", "lambda:0.5"])
def test_rules_without_a_second_segment_train_the_q_head_only(model, spec):
    rule = target_rule(spec)
    first = experience(model)
    rule(first)
    second = experience(model, segments=2, ended=True, carry=first.out.carry, step=1)
    loss, _ = rule(second)
    model.zero_grad()
    loss.sum().backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    assert touched == {"q_head.weight", "q_head.bias"}


@pytest.mark.parametrize("mix", [0.0, 0.6, 1.0])
def test_lambda_returns_equal_the_recursion_by_hand(model, mix):
    gamma, cost = 0.95, 0.05
    rule = target_rule(f"lambda:{mix}", gamma, cost)
    right = [True, False] * 4
    carry, q_halt, q_continue = None, [], []
    for segment in (1, 2, 3):
        now = experience(model, segment, segment, segment == 3, right, carry)
        loss, _ = rule(now)
        carry = now.out.carry
        q_halt.append(now.out.q_halt.detach())
        q_continue.append(now.out.q_continue)
        assert bool(loss.any()) == (segment == 3)
    pairs = zip(q_halt, q_continue, strict=True)
    better = [torch.maximum(h, c.detach()).sigmoid() for h, c in pairs]
    value = (1 - mix) * better[2] + mix * torch.tensor(right).float()
    late = (gamma * value - cost).clamp(0, 1)
    early = (gamma * ((1 - mix) * better[1] + mix * late) - cost).clamp(0, 1)
    expected = q_loss(q_continue[0], early) + q_loss(q_continue[1], late)
    torch.testing.assert_close(loss, expected)


def test_an_episode_of_one_segment_has_nothing_to_learn(model):
    for spec in ("delayed", "lambda:0.9"):
        rule = target_rule(spec)
        assert not rule(experience(model, ended=True)).loss.any()


@pytest.mark.parametrize(
    "spec",
    [
        *("fulll", "full:2", "every", "every:0", "every:1.5", "every:inf"),
        *("subsample:0", "subsample:2", "lambda:-1", "lambda:nan"),
    ],
)
def test_bad_specs_are_named(spec):
    with pytest.raises(ValueError, match=spec):
        target_rule(spec)
