import math

import pytest
import torch
import torch.nn.functional as F

from hrm_rl.agents.learning.losses import q_loss, token_loss
from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.puzzles.pool import IGNORE_LABEL


def test_mean_is_over_the_labelled_tokens_of_each_row() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5)
    labels = torch.tensor([[0, 4, IGNORE_LABEL, 2], [IGNORE_LABEL, IGNORE_LABEL, 3, IGNORE_LABEL]])
    first = stablemax_cross_entropy(logits[0, [0, 1, 3]], labels[0, [0, 1, 3]]).mean()
    second = stablemax_cross_entropy(logits[1, 2], labels[1, 2])
    torch.testing.assert_close(token_loss(logits, labels), torch.stack((first, second)))


@pytest.mark.parametrize("kind", ["stablemax", "softmax"])
def test_row_without_labels_costs_nothing_and_teaches_nothing(kind) -> None:
    logits = torch.randn(2, 4, 5, requires_grad=True)
    labels = torch.tensor([[1, 2, 3, IGNORE_LABEL], [IGNORE_LABEL] * 4])
    loss = token_loss(logits, labels, kind)
    assert loss[0] > 0 and loss[1] == 0
    loss.sum().backward()
    assert (logits.grad[0, :3] != 0).any()
    assert (logits.grad[0, 3] == 0).all() and (logits.grad[1] == 0).all()


def test_softmax_is_the_usual_cross_entropy() -> None:
    logits, labels = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    wanted = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    torch.testing.assert_close(token_loss(logits, labels, "softmax"), wanted.view(3, 4).mean(1))


def test_softmax_of_bfloat16_is_computed_in_float32() -> None:
    logits, labels = torch.randn(3, 4, 5).bfloat16(), torch.randint(5, (3, 4))
    loss = token_loss(logits, labels, "softmax")
    assert loss.dtype == torch.float32
    assert torch.equal(loss, token_loss(logits.float(), labels, "softmax"))


def test_labels_may_be_int32() -> None:
    logits, labels = torch.randn(2, 4, 5), torch.randint(5, (2, 4))
    assert torch.equal(token_loss(logits, labels.int()), token_loss(logits, labels))


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stablemax.*softmax.*'hinge'"):
        token_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64), "hinge")


def test_q_loss_by_hand() -> None:
    q = torch.tensor([0.0, -5.0, 2.0])
    found = q_loss(q, torch.tensor([True, True, False]))
    wanted = torch.tensor([math.log(2), math.log1p(math.exp(5)), math.log1p(math.exp(2))])
    torch.testing.assert_close(found, wanted)


def test_q_loss_takes_values_between() -> None:
    p = 1 / (1 + math.exp(-0.4))
    wanted = -0.3 * math.log(p) - 0.7 * math.log(1 - p)
    assert q_loss(torch.tensor([0.4]), torch.tensor([0.3])).item() == pytest.approx(wanted)
