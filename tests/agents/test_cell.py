"""HRMCell: nn.LSTM's interface, what a state is, and where gradients pass."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from hrm_rl.agents.cell import HRMCell
from hrm_rl.model import Carry, CoreConfig

SMALL = CoreConfig(hidden_size=16, num_heads=2)
TWICE = CoreConfig(hidden_size=16, num_heads=2, H_cycles=2)
every_kind = pytest.mark.parametrize(
    "settings",
    [
        {},
        {"segments": 3},
        {"through_time": False, "segments": 2},
        {"carry": "reset"},
        {"embedded": True, "tokens": None},
        {"embedded": True, "tokens": 2},
    ],
    ids=lambda settings: "-".join(settings) or "default",
)


def cell(seed: int = 0, **settings) -> HRMCell:
    torch.manual_seed(seed)
    features = 48 if settings.get("embedded") else 5
    return HRMCell(features, **{"tokens": 3, "config": SMALL} | settings)


def sequence(of: HRMCell, steps: int = 4, rows: int = 3) -> Tensor:
    return torch.randn(steps, rows, of.input_size)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 3, 5), (4, 5), (4, 1, 5)])
def test_shapes_are_those_of_nn_lstm(batch_first, shape) -> None:
    ours = cell(batch_first=batch_first)
    lstm = nn.LSTM(5, 16, num_layers=3, batch_first=batch_first)
    for name in ("input_size", "hidden_size", "num_layers", "batch_first", "bidirectional"):
        assert getattr(ours, name) == getattr(lstm, name), name
    x, states = torch.randn(shape), [None, None]
    for _ in range(2):  # without a state, then with one
        found = [module(x, hx) for module, hx in zip((ours, lstm), states, strict=True)]
        shapes = [[out.shape, h.shape, c.shape] for out, (h, c) in found]
        assert shapes[0] == shapes[1]
        states = [state for _, state in found]
    ours.flatten_parameters()


def test_batch_first_and_no_batch_are_views_of_the_same() -> None:
    plain, first = cell(), cell(batch_first=True)
    x = sequence(plain)
    out, (h, c) = plain(x)
    out_first, state_first = first(x.transpose(0, 1))
    torch.testing.assert_close(out_first.transpose(0, 1), out)
    torch.testing.assert_close(state_first, (h, c))
    out_alone, (h_alone, c_alone) = plain(x[:, 1])
    torch.testing.assert_close(out_alone, out[:, 1])
    torch.testing.assert_close((h_alone, c_alone), (h[:, 1], c[:, 1]))


@every_kind
def test_a_sequence_is_its_steps_one_by_one(settings) -> None:
    ours = cell(**settings)
    x = sequence(ours)
    out, state = ours(x)
    hx, outs = None, []
    for step in x:
        one, hx = ours(step[None], hx)
        outs.append(one)
    torch.testing.assert_close(torch.cat(outs), out)
    torch.testing.assert_close(hx, state)


@every_kind
def test_a_row_times_zero_starts_afresh_and_the_others_go_on(settings) -> None:
    ours = cell(**settings)
    _, (h, c) = ours(sequence(ours))
    x = sequence(ours)
    keep = torch.tensor([1.0, 0.0, 1.0]).view(1, 3, 1)
    out, _ = ours(x, (keep * h, keep * c))
    torch.testing.assert_close(out[:, 1], ours(x)[0][:, 1])
    torch.testing.assert_close(out[:, ::2], ours(x, (h, c))[0][:, ::2])


@pytest.mark.parametrize("kept", [None, 2])
def test_the_state_is_the_carry_of_the_core(kept) -> None:
    """Two steps by hand, two segments each. With 2 tokens kept one is added, and the input's other tokens
    start every step at H_init and L_init."""
    ours = cell(embedded=True, tokens=kept, segments=2)
    x = sequence(ours, steps=2)
    count = 3 if kept is None else 4
    fresh = carry = ours.core.initial_carry(3, count)
    for step in x:
        tokens = step.view(3, 3, 16)
        if kept:
            added = ours.added_tokens.expand(3, 1, 16)
            tokens = torch.cat((tokens[:, :1], added, tokens[:, 1:]), 1)
        for _ in range(2):
            result = ours.core(carry, tokens)
            carry = result.carry
        pairs = zip(carry, fresh, strict=True)
        carry = Carry(*(torch.cat((z[:, :kept], f[:, kept or count :]), 1) for z, f in pairs))
    out, (h, c) = ours(x)
    torch.testing.assert_close(out[-1], result.z_H[:, 0])
    torch.testing.assert_close(h.transpose(0, 1) + ours.core.H_init, carry.z_H[:, :kept])
    torch.testing.assert_close(c.transpose(0, 1) + ours.core.L_init, carry.z_L[:, :kept])


def test_a_kept_carry_depends_on_history_and_a_reset_one_does_not() -> None:
    for settings, alike in (({}, False), ({"carry": "reset"}, True)):
        ours = cell(**settings)
        x = sequence(ours)
        other = x.clone()
        other[0] += 1
        assert torch.equal(ours(x)[0][1:], ours(other)[0][1:]) == alike
        state = torch.randn(3, 3, 16), torch.randn(3, 3, 16)
        assert torch.equal(ours(x)[0], ours(x, state)[0]) == alike
    _, (h, c) = ours(x, state)
    assert not h.any() and not c.any()


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({"through_time": False}, False),
        ({"through_time": False, "segments": 2}, False),
        ({}, True),
        ({"segments": 2}, True),
        ({"embedded": True, "tokens": 2}, True),
        ({"carry": "reset"}, False),
    ],
)
def test_gradients_pass_between_steps_only_through_time(settings, passes) -> None:
    ours = cell(**settings)
    x = sequence(ours).requires_grad_()
    out, (h, c) = ours(x)
    out[2].sum().backward()
    assert x.grad is not None
    assert x.grad[2].any() and not x.grad[3].any()
    assert bool(x.grad[:2].any()) == passes
    assert h.requires_grad == c.requires_grad == (passes)


def test_through_time_the_gradient_is_that_of_the_unrolled_core() -> None:
    """With gradient="full" it is exact: finite differences in float64 agree."""
    config = CoreConfig(hidden_size=4, num_heads=2, gradient="full", H_cycles=2)
    ours = cell(tokens=2, segments=2, config=config).double()
    x = torch.randn(2, 1, 5, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(2, 1, 4, dtype=torch.float64, requires_grad=True) for _ in "hc")
    assert torch.autograd.gradcheck(lambda x, h, c: ours(x, (h, c))[0], (x, *state), atol=1e-6)


def test_not_through_time_parameters_get_the_sum_of_the_gradients_of_the_steps() -> None:
    ours = cell(through_time=False)
    x = sequence(ours)
    grads = []
    for parts in ([x], x.split(1)):
        ours.zero_grad()
        hx = None
        for part in parts:
            out, hx = ours(part, hx)
            out[..., 0].sum().backward()
        grads.append([p.grad.clone() for p in ours.parameters()])
    torch.testing.assert_close(*grads)


def recall(**settings) -> float:
    """The share of cues named three steps later, after 60 batches of 32."""
    torch.manual_seed(0)
    ours, head = HRMCell(5, 16, **settings), nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*ours.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(60):
        cue, x = torch.randint(4, (32,)), torch.zeros(4, 32, 5)
        x[0, torch.arange(32), cue] = x[1:, :, 4] = 1
        named = head(ours(x)[0][-1])
        optimizer.zero_grad()
        nn.functional.cross_entropy(named, cue).backward()
        optimizer.step()
    return float((named.argmax(-1) == cue).float().mean())


def test_the_defaults_learn_what_to_remember() -> None:
    assert recall() > 0.95
    assert recall(through_time=False) < 0.9


@every_kind
def test_state_dicts_carry_everything(settings) -> None:
    one, other = cell(0, **settings), cell(1, **settings)
    x = sequence(one)
    assert not torch.equal(one(x)[0], other(x)[0])
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(x), one(x), rtol=0, atol=0)


def test_outputs_and_embeddings_have_unit_variance() -> None:
    ours = HRMCell(10, 64)
    x = torch.randn(50, 100, 10)
    with torch.no_grad():
        out, embedded = ours(x)[0], ours._embed(x)
    assert out.square().mean().sqrt() == pytest.approx(1, abs=0.01)
    assert embedded.square().mean().sqrt() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"carry": "hold"}, "carry must be one of keep, reset; got 'hold'"),
        ({"segments": 0}, "segments must be an integer >= 1, got 0"),
        ({"tokens": 0}, "tokens must be an integer >= 1, got 0"),
        ({"tokens": None}, "tokens=None needs embedded=True"),
        ({"hidden_size": 32}, "hidden_size=32, but config.hidden_size=16"),
        ({"input_size": 40, "embedded": True}, "input_size must be a multiple of 16, got 40"),
        ({"config": TWICE}, "needs H_cycles=1 or gradient='full'.*through_time=False trains"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        HRMCell(**{"input_size": 5, "config": SMALL} | settings)


@pytest.mark.parametrize(
    ("x", "hx", "words"),
    [
        (torch.zeros(2, 3, 4), None, r"shape \[L, N, F\] or \[L, F\] with F = 5, got \(2, 3, 4\)"),
        (torch.zeros(0, 3, 5), None, r"one time step or more, got shape \(0, 3, 5\)"),
        (torch.zeros(2, 3, 5).double(), None, r"the input must be torch.float32.*got torch.float64"),
        (torch.zeros(5), None, r"the input must have shape .*got \(5,\)"),
        (torch.zeros(2, 3, 5), (3, 4, 16), "h is the state of 4 sequences, the input has 3"),
        (torch.zeros(2, 5), (3, 4, 16), r"h must have shape \(3, 16\), got \(3, 4, 16\)"),
        (torch.zeros(2, 3, 5), (2, 3, 16), r"c must have shape \(3, 3, 16\), got \(2, 3, 16\)"),
        (pack_sequence([torch.zeros(2, 5)]), None, "padded input, not a PackedSequence"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, hx, words) -> None:
    state = None if hx is None else (torch.zeros(3, *hx[1:]), torch.zeros(hx))
    with pytest.raises(ValueError, match=words):
        cell()(x, state)


def test_a_state_is_a_pair() -> None:
    for state, kind in ((torch.zeros(3, 3, 16), "Tensor"), ((torch.zeros(3, 3, 16),), "tuple")):
        with pytest.raises(ValueError, match=f"the pair .h, c., got {kind}"):
            cell()(torch.zeros(2, 3, 5), state)


@pytest.mark.parametrize(("width", "heads"), [(64, 4), (30, 2), (7, 1)])
def test_widths_of_an_lstm_need_no_config(width, heads) -> None:
    cell = HRMCell(5, width)
    assert cell.core.config.num_heads == heads and cell(torch.zeros(2, 3, 5))[0].shape == (2, 3, width)
