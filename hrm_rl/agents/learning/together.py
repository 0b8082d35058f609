"""A step of several ranks, each of which has a part of the batch, as one process would take it."""

import torch
from torch import Tensor

from hrm_rl.agents.learning.update import Rows, Update
from hrm_rl.distributed.ranks import Ranks


def sum_gradients(ranks: Ranks, optimizers: list[torch.optim.Optimizer], rows: int) -> None:
    """Give every rank the gradient of the global batch: the sum of the ranks', in one message.

    A puzzle embedding's sparse gradient becomes that of the rows of all ranks, which its optimizer sums by
    identifier before it takes their sign; no rank has more than `rows` of them.
    """
    if ranks.count == 1:
        return
    weights = [weight for o in optimizers for group in o.param_groups for weight in group["params"]]
    learning = [weight for weight in weights if weight.grad is not None]
    dense = [weight for weight in learning if not weight.grad.is_sparse]
    for weight, total in zip(dense, ranks.sum_([weight.grad for weight in dense]), strict=True):
        weight.grad = total
    for weight in learning:
        if weight.grad.is_sparse:
            weight.grad = _whole_rows(ranks, weight.grad, rows)


def _whole_rows(ranks: Ranks, gradient: Tensor, rows: int) -> Tensor:
    ids, values = gradient._indices()[0], gradient._values()
    missing = rows - len(ids)
    if missing:
        # Zeros for an identifier that is there: they change no sum, and every rank sends the same size.
        ids = torch.cat((ids, ids[:1].expand(missing)))
        values = torch.cat((values, values.new_zeros(missing, values.shape[1])))
    ids, values = ranks.whole(ids, values)
    return torch.sparse_coo_tensor(ids[None], values, gradient.shape, check_invariants=False)


def whole_update(ranks: Ranks, update: Update) -> Update:
    """The update of the global batch: means of the losses, and the rows of all ranks."""
    if ranks.count == 1:
        return update
    losses = torch.stack(list(update.losses.values()))
    *rows, means = ranks.whole(*update.rows, losses[None])
    return Update(dict(zip(update.losses, means.mean(0), strict=True)), Rows(*rows))
