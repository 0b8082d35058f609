"""Updates that are not finite, left out; the decision is made on the device, so nothing waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hrm_rl.agents.learning.update import Update
from hrm_rl.model import HRM, Carry


class SkipBroken:
    """Undoes an update whose gradients, or the weights after it, are not finite.

    Weights and optimizers are then what they were before. It keeps a copy of them during the update.
    """

    def __init__(self, model: HRM, optimizers: list[torch.optim.Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._weights = [w for o in optimizers for group in o.param_groups for w in group["params"]]
        self._finite = torch.ones((), dtype=torch.bool, device=model.device)
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=model.device)
        """Updates left out since the last one that was not."""

    def begin(self) -> None:
        """A new step, which may or may not update."""
        self._finite.fill_(True)

    @contextmanager
    @torch.no_grad()
    def watching(self) -> Iterator[None]:
        """Around the optimizers' steps."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        finite = _all_finite([g._values() if g.is_sparse else g for g in gradients])
        before = {id(tensor): tensor.clone() for tensor in self._tensors()}
        yield
        finite = finite & _all_finite(self._weights)
        for tensor in self._tensors():
            # An optimizer makes its state, zeros, in its first step.
            old = before.get(id(tensor))
            old = torch.zeros_like(tensor) if old is None else old
            tensor.copy_(torch.where(finite.to(tensor.device), tensor, old))
        self._finite.copy_(finite)
        self.in_a_row.copy_(torch.where(finite, 0, self.in_a_row + 1))

    def _tensors(self) -> Iterator[Tensor]:
        yield from self._weights
        for optimizer in self._optimizers:
            for state in optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, Tensor))

    def carry(self, carry: Carry) -> Carry:
        """The carry, fresh on rows where it is not finite."""
        broken = ~torch.stack([z.isfinite().flatten(1).all(1) for z in carry]).all(0)
        return self._model.reset(carry, broken)

    def update(self, update: Update) -> Update:
        """The update with losses of 0 where it was left out, and `skipped`, 1 there and 0 else."""
        whole = {name: finite_or_zero(loss) for name, loss in update.losses.items()}
        losses = {name: torch.where(self._finite, loss, 0.0) for name, loss in whole.items()}
        return Update(losses | {"skipped": (~self._finite).float()}, update.rows)


def finite_or_zero(tensor: Tensor) -> Tensor:
    """The tensor with 0 in place of values that are not finite."""
    return torch.where(tensor.isfinite(), tensor, 0) if tensor.is_floating_point() else tensor


def _all_finite(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.isfinite().all() for tensor in tensors]).all()
