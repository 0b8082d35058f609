"""The norm of the gradient, computed only at the steps whose figures are written."""

from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents import Learner
from hrm_rl.agents.learning.optim import SignSGD, summed_rows
from hrm_rl.distributed.sharding import gathered


class GradientNorm:
    """Follows the network's optimizers: while `due`, an update leaves the norm of its gradient.

    Puzzle embeddings have an optimizer of their own and count only where they alone learn. Nothing waits
    for the device until `take`. Whole-episode learners and recorded steps always compute it: the
    former update at few steps, the latter repeat what they recorded.
    """

    def __init__(self, learner: Learner, *, graphs: bool) -> None:
        self.due = self._always = graphs or learner.whole_episodes
        self.norm: Tensor | None = None
        first, *others = learner.optimizers
        network = [first, *(o for o in others if not isinstance(o, SignSGD))]
        self._weights = [w for o in network for group in o.param_groups for w in group["params"]]
        # A pre-hook of the optimizer, since an update frees the gradients.
        self._hook = first.register_step_pre_hook(self._measure)

    def expect(self, due: bool) -> None:
        """Whether the next step is written."""
        self.due = self._always or due

    @torch.no_grad()
    def _measure(self, *_: Any) -> None:
        if self.due:
            gradients = [weight.grad for weight in self._weights if weight.grad is not None]
            parts = [_sparse_norm(g) if g.is_sparse else g for g in gradients]
            self.norm = gathered(torch.nn.utils.get_total_norm(parts))

    def take(self) -> dict[str, float]:
        """The figure; empty before the first update."""
        return {} if self.norm is None else {"train/gradient_norm": float(self.norm)}

    def close(self) -> None:
        """Leave the optimizer."""
        self._hook.remove()


def _sparse_norm(gradient: Tensor) -> Tensor:
    """The norm of a sparse gradient; not by `coalesce`, which cannot be recorded."""
    _, rows, sums = summed_rows(gradient)
    return (rows * sums).sum().clamp_min(0).sqrt()
