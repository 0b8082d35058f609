"""Optimizers: AdamATan2 for the network, sign-SGD for puzzle embeddings; and the learning rate."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents.learning.config import LearnerConfig
from hrm_rl.agents.learning.update import Update
from hrm_rl.distributed.ranks import Ranks
from hrm_rl.distributed.sharding import is_divided, local
from hrm_rl.kernels.adam_atan2 import adam_atan2_, step_device
from hrm_rl.model import Carry, ReasoningModel
from hrm_rl.model.layers import PuzzleEmbedding


def make_optimizers(model: ReasoningModel, config: LearnerConfig) -> list[torch.optim.Optimizer]:
    """The network's optimizers (with muon AdamW, then Muon) and, if the model has puzzle embeddings, theirs.

    With `train_only` puzzle-embedding the network is frozen and has none; raises ValueError without puzzle
    embeddings. Raises ValueError for muon if PyTorch lacks it.
    """
    c, dense = config, [p for n, p in model.named_parameters() if not n.startswith("puzzle_emb.")]
    if c.train_only == "puzzle-embedding":
        if model.puzzle_emb is None:
            raise ValueError(
                "train_only 'puzzle-embedding' needs a puzzle embedding; the model's puzzle_emb_ndim is 0"
            )
        for parameter in dense:
            parameter.requires_grad_(False)
        return [_embedding_optimizer(model.puzzle_emb, c)]
    optimizers: list[torch.optim.Optimizer] = []
    if c.optimizer == "muon":
        matrices = _hidden_matrices(model)
        dense = [p for p in dense if all(p is not matrix for matrix in matrices)]
        optimizers = [_muon(matrices, c)]
    if c.optimizer == "adam-atan2":
        optimizers = [AdamATan2(dense, c.lr, c.betas, c.weight_decay)]
    else:
        fused = model.device.type != "mps"
        adam = torch.optim.AdamW(dense, c.lr, c.betas, weight_decay=c.weight_decay, fused=fused)
        optimizers = [adam, *optimizers]
    if model.puzzle_emb is not None:
        optimizers.append(_embedding_optimizer(model.puzzle_emb, c))
    return optimizers


def _hidden_matrices(model: ReasoningModel) -> list[Tensor]:
    """The matrices inside the blocks: not embeddings, heads, biases and scales of norms."""
    return [p for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2]


def _muon(matrices: list[Tensor], config: LearnerConfig) -> torch.optim.Optimizer:
    kind = getattr(torch.optim, "Muon", None)
    if kind is None:
        raise ValueError(
            f"optimizer 'muon' needs PyTorch 2.9 or newer, this is {torch.__version__}; adamw runs on any"
        )
    return kind(matrices, config.muon_lr, config.muon_weight_decay)  # type: ignore[no-any-return]


def _embedding_optimizer(table: PuzzleEmbedding, config: LearnerConfig) -> "SignSGD":
    return SignSGD(table.parameters(), config.puzzle_emb_lr, config.puzzle_emb_weight_decay)


class AdamATan2(torch.optim.Optimizer):
    """Adam with atan2 in place of division: scale-free, no epsilon.

    `p *= 1 - lr wd`, then `p -= lr / (1 - b1^t) * atan2(m, sqrt(v) / sqrt(1 - b2^t))`: the first
    bias correction outside atan2, as in the published PyPI package `adam-atan2` that the reference
    trains with. Decay applies to every parameter. Source: arXiv 2407.05872, section 5.

    `lr` may be a tensor on the parameters' device. A CUDA graph of the step then follows what is written
    into it; see `hrm_rl.kernels.adam_atan2`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = _evaluate(closure)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            states = self._states(params, step_device(params, group["lr"]))
            columns = ([local(state[name]) for state in states] for name in ("m", "v", "step"))
            settings = {name: group[name] for name in ("lr", "betas", "weight_decay")}
            grads = [local(p.grad) for p in params]
            adam_atan2_([local(p) for p in params], grads, *columns, **settings)
        return loss

    def _states(self, params: list[Tensor], device: torch.device) -> list[dict[str, Tensor]]:
        """The running means of these parameters, zero at first, their step counters on `device`."""
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros((), device=device)
                state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
            elif state["step"].device != device:  # from a checkpoint
                state["step"] = state["step"].to(device)
        return [self.state[p] for p in params]


class SignSGD(torch.optim.Optimizer):
    """Sign-SGD on the rows of an embedding table that a batch touched.

    Takes sparse gradients with one row an example. Rows of the same id are summed first; then
    `p = p (1 - lr wd) - lr sign(g)` on those rows only. Source: reference `models/sparse_embedding.py`.
    `lr` may be a tensor on the table's device; nothing is read on the host.
    """

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-2, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = _evaluate(closure)
        for group in self.param_groups:
            lr, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for table in group["params"]:
                if table.grad is None:
                    continue
                ids, _, sums = summed_rows(table.grad)
                table[ids] = table[ids] * decay - lr * sums.sign()  # duplicates write the same value
        return loss


def summed_rows(gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The ids [B] and rows [B, width] of a sparse gradient, and for each row the sum of those of its id: as
    `coalesce` without a shape that depends on the data, for which a device would have to be waited for."""
    ids, rows = gradient._indices()[0], gradient._values()
    same = (ids[:, None] == ids[None, :]).to(rows.dtype)
    return ids, rows, same @ rows


def sum_gradients(ranks: Ranks, optimizers: list[torch.optim.Optimizer], rows: int) -> None:
    """Give every rank the gradient of the global batch: the sum of the ranks', in one message.

    A puzzle embedding's sparse gradient becomes that of the rows of all ranks, which its optimizer sums by
    identifier before it takes their sign; no rank has more than `rows` of them.
    """
    if ranks.count == 1:
        return
    weights = [weight for o in optimizers for group in o.param_groups for weight in group["params"]]
    # The gradients of divided weights are summed already.
    learning = [weight for weight in weights if weight.grad is not None and not is_divided(weight)]
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


def _evaluate(closure: Callable[[], Any] | None) -> Any:
    """The loss of an optimizer's closure, with gradient; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def learning_rate_factor(
    step: int, warmup_steps: int, total_steps: int | None = None, min_ratio: float = 1.0
) -> float:
    """The factor on the base learning rate at `step` (0-based).

    Linear warm-up whose first step is 1 / warmup_steps, then a cosine from 1 to `min_ratio` at the
    last of `total_steps` (constant with min_ratio 1). Source: reference `pretrain.py`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if min_ratio == 1.0 or total_steps is None:
        return 1.0
    progress = min(1.0, (step + 1 - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


# --- updates that are not finite, left out without waiting for the device -----------------------


class SkipBroken:
    """Undoes an update whose gradients, or the weights after it, are not finite.

    Weights and optimizers are then what they were before. It keeps a copy of them during the update.
    """

    def __init__(self, model: ReasoningModel, optimizers: list[torch.optim.Optimizer]) -> None:
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
