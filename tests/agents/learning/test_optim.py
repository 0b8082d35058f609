import dataclasses
import math

import pytest
import torch

from hrm_rl.agents import Learner, LearnerConfig
from hrm_rl.agents.learning.optim import AdamATan2, SignSGD, learning_rate_factor
from hrm_rl.model.layers import PuzzleEmbedding

GRADS = [0.0, 0.5, -2.0, 0.1, 0.1, 3.0]


def by_hand(p: float, lr: float, decay: float, b1: float, b2: float) -> list[float]:
    """AdamATan2 on one number, as in the published package."""
    m = v = 0.0
    path = []
    for t, g in enumerate(GRADS, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p *= 1 - lr * decay
        p -= lr / (1 - b1**t) * math.atan2(m, math.sqrt(v) / math.sqrt(1 - b2**t))
        path.append(p)
    return path


def run(optimizer, parameter, grads) -> list[float]:
    path = []
    for g in grads:
        parameter.grad = torch.full_like(parameter, g)
        optimizer.step()
        path.append(parameter.detach().flatten()[0].item())
    return path


@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.8, 0.99)])
def test_adam_atan2_by_hand(decay, betas) -> None:
    p = torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    found = run(AdamATan2([p], 0.1, betas, decay), p, GRADS)
    assert found == pytest.approx(by_hand(0.7, 0.1, decay, *betas), rel=1e-12)


def test_parameters_without_a_gradient_are_left_alone() -> None:
    a, b = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    a.grad = torch.ones(2)
    AdamATan2([a, b], 0.1, weight_decay=1.0).step()
    assert (a != 1).all() and (b == 1).all()


def test_adam_atan2_goes_on_from_its_state() -> None:
    whole = torch.nn.Parameter(torch.tensor([0.7]))
    wanted = run(AdamATan2([whole], 0.1, weight_decay=0.1), whole, GRADS)
    p = torch.nn.Parameter(torch.tensor([0.7]))
    first = AdamATan2([p], 0.1, weight_decay=0.1)
    run(first, p, GRADS[:2])
    second = AdamATan2([p], 0.3)  # the state brings the learning rate too
    second.load_state_dict(first.state_dict())
    assert run(second, p, GRADS[2:])[-1] == wanted[-1]


# --- Muon -----------------------------------------------------------------------------------------


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Five steps of the quintic iteration, on the singular values."""
    U, s, V = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return U @ s.diag() @ V


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has Muon from 2.9 on")
def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest(tiny_hrm) -> None:
    """By hand, with rates and decay of each; Muon's iteration runs in bfloat16."""
    model = tiny_hrm(puzzle_emb_ndim=16)
    config = LearnerConfig("muon", lr=0.01, weight_decay=0.5, muon_lr=0.1, muon_weight_decay=0.2)
    learner = Learner(model, 2, dataclasses.replace(config, warmup_steps=2))
    before = {name: p.detach().double() for name, p in model.named_parameters()}
    mean, square, momentum = ({name: torch.zeros_like(p) for name, p in before.items()} for _ in range(3))
    for t in (1, 2):
        rate = t / 2
        for name, p in model.named_parameters():
            if name.startswith("puzzle_emb"):
                continue
            g, w = torch.randn_like(p), before[name]
            p.grad, g = g, g.double()
            if ".layers." in name:
                momentum[name] = 0.95 * momentum[name] + 0.05 * g
                update = orthogonal(0.05 * g + 0.95 * momentum[name])
                step = update * max(1, p.shape[0] / p.shape[1]) ** 0.5
                before[name] = w * (1 - rate * 0.1 * 0.2) - rate * 0.1 * step
            else:
                mean[name] = 0.9 * mean[name] + 0.1 * g
                square[name] = 0.95 * square[name] + 0.05 * g**2
                step = mean[name] / (1 - 0.9**t) / ((square[name] / (1 - 0.95**t)).sqrt() + 1e-8)
                before[name] = w * (1 - rate * 0.01 * 0.5) - rate * 0.01 * step
        learner.apply_gradients()
    assert len(learner.optimizers) == 3
    for name, p in model.named_parameters():
        error = (p - before[name]).norm() / before[name].norm().clamp_min(1)
        assert error < (0.02 if ".layers." in name else 1e-5), name


def test_a_pytorch_without_muon_is_named(tiny_hrm, monkeypatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ValueError, match=r"'muon' needs PyTorch 2\.9 or newer, this is 2\.\d+.*adamw"):
        Learner(tiny_hrm(), 2, LearnerConfig("muon"))


# --- sign-SGD -------------------------------------------------------------------------------------


def sparse_step(ids, rows, lr=0.1, decay=0.5) -> torch.Tensor:
    """A table of ones [4, 2] after one step."""
    table = torch.nn.Parameter(torch.ones(4, 2))
    index = torch.tensor([ids])
    table.grad = torch.sparse_coo_tensor(index, torch.tensor(rows), (4, 2), check_invariants=False)
    SignSGD([table], lr, decay).step()
    return table.detach()


def test_sign_sgd_by_hand_and_untouched_rows_stay() -> None:
    table = sparse_step([2], [[3.0, -1e-6]])
    torch.testing.assert_close(table[2], torch.tensor([0.95 - 0.1, 0.95 + 0.1]))
    assert (table[[0, 1, 3]] == 1).all()


def test_duplicates_are_summed_before_the_sign() -> None:
    """Two small votes against one large: the sum decides, and the row moves once."""
    table = sparse_step([1, 1, 3, 1], [[-1.0, 2.0], [-1.0, -1.0], [1.0, 1.0], [3.0, -1.0]])
    torch.testing.assert_close(table[1], torch.tensor([0.95 - 0.1, 0.95]))
    torch.testing.assert_close(table[3], torch.tensor([0.95 - 0.1, 0.95 - 0.1]))
    assert (table[[0, 2]] == 1).all()


def test_sign_sgd_takes_the_embeddings_own_gradient() -> None:
    embedding = PuzzleEmbedding(4, 2)
    (embedding(torch.tensor([1, 3, 1])) * torch.tensor([[1.0, -5.0]])).sum().backward()
    SignSGD(embedding.parameters(), lr=0.1, weight_decay=0.0).step()
    wanted = torch.zeros(4, 2)
    wanted[[1, 3]] = torch.tensor([-0.1, 0.1])
    torch.testing.assert_close(embedding.weights.detach(), wanted)


# --- the learning rate ----------------------------------------------------------------------------


def test_warm_up_starts_at_one_part_and_ends_at_the_base() -> None:
    points = [learning_rate_factor(step, 2000) for step in (0, 999, 1999, 10**6)]
    assert points == [1 / 2000, 0.5, 1.0, 1.0] and learning_rate_factor(0, 0) == 1.0


def test_cosine_goes_from_the_base_to_the_ratio() -> None:
    points = [learning_rate_factor(s, 100, 1100, 0.2) for s in (99, 349, 599, 1099, 5000)]
    quarter = 0.2 + 0.8 * (0.5 + math.sqrt(0.5) / 2)
    assert points == pytest.approx([1.0, quarter, 0.6, 0.2, 0.2])
