import math

import pytest
import torch
import torch.nn.functional as F

from hrm_rl.agents.learning.losses import q_loss, token_loss
from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.puzzles.pool import IGNORE_LABEL


def softmax_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), labels, reduction="none")


@pytest.mark.parametrize(
    ("kind", "loss"), [("stablemax", stablemax_cross_entropy), ("softmax", softmax_cross_entropy)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mean_is_over_the_labelled_tokens_of_each_row(kind, loss, dtype) -> None:
    """A row without labels costs nothing and teaches nothing; labels may be int32."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, dtype=dtype, requires_grad=True)
    ignored = IGNORE_LABEL
    labels = torch.tensor([[0, 4, ignored, 2], [ignored, ignored, 3, ignored], [ignored] * 4])
    found = token_loss(logits, labels, kind)
    first = loss(logits[0, [0, 1, 3]], labels[0, [0, 1, 3]]).mean()
    second = loss(logits[1, 2:3], labels[1, 2:3])[0]
    torch.testing.assert_close(found, torch.stack((first, second, torch.tensor(0.0))))
    assert torch.equal(token_loss(logits, labels.int(), kind), found)
    found.sum().backward()
    assert torch.equal((logits.grad != 0).any(-1), labels != ignored)


@pytest.mark.parametrize("kind", ["stablemax", "softmax"])
def test_label_smoothing_spreads_a_share_over_all_tokens(kind) -> None:
    """Against log p of every token, with its gradient; stablemax also at 0, where its branches meet."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5).mul(3).round(decimals=1).double().requires_grad_()
    with torch.no_grad():
        logits[0, 0, :2] = 0.0
    labels = torch.tensor([[0, 4, 1], [2, IGNORE_LABEL, 3]])
    s = logits.exp() if kind == "softmax" else torch.where(logits < 0, 1 / (1 + logits.abs()), logits + 1)
    log_p = (s / s.sum(-1, keepdim=True)).log()
    wanted = []
    for row in range(2):
        cells = [cell for cell in range(3) if labels[row, cell] != IGNORE_LABEL]
        costs = [-0.7 * log_p[row, c, labels[row, c]] - 0.3 * log_p[row, c].mean() for c in cells]
        wanted.append(sum(costs) / len(cells))
    found = token_loss(logits, labels, kind, 0.3)
    exactness = {"atol": 1e-6, "rtol": 1e-6}  # softmax is computed in float32
    torch.testing.assert_close(found, torch.stack(wanted), check_dtype=False, **exactness)
    (ours,), (naive,) = (torch.autograd.grad(sum(loss), logits) for loss in (found, wanted))
    torch.testing.assert_close(ours, naive, **exactness)


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stablemax.*softmax.*'hinge'"):
        token_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64), "hinge")


def test_q_loss_by_hand() -> None:
    q = torch.tensor([0.0, -5.0, 2.0])
    found = q_loss(q, torch.tensor([True, True, False]))
    wanted = torch.tensor([math.log(2), math.log1p(math.exp(5)), math.log1p(math.exp(2))])
    torch.testing.assert_close(found, wanted)
    p = 1 / (1 + math.exp(-0.4))
    between = -0.3 * math.log(p) - 0.7 * math.log(1 - p)
    assert q_loss(torch.tensor([0.4]), torch.tensor([0.3])).item() == pytest.approx(between)
