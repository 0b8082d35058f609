"""Training whose weights, gradients and optimizer states are divided among the ranks (FSDP2).

Every rank has a part of each tensor between steps, and gathers the whole weights for a step. Puzzle
embeddings stay whole on every rank, since a batch touches few of their rows. Checkpoints hold whole tensors,
so any number of ranks, sharded or not, goes on from them.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from hrm_rl.distributed.ranks import current

Sharding = Literal["none", "full"]
SHARDINGS: tuple[Sharding, ...] = ("none", "full")


def shard(model: Any, *, dtype: torch.dtype, whole: Iterable[Tensor] = ()) -> None:
    """Divide the parameters, but for those of `whole`, among the ranks of the job; they are gathered in
    `dtype`, and gradients are summed in float32.

    Raises ValueError outside a job, or for a PyTorch that cannot.
    """
    if current().count == 1:
        raise ValueError("sharding full divides a model among ranks; start several with torchrun")
    options: dict[str, Any] = {"ignored_params": set(whole)}
    try:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

        if dtype.itemsize < torch.float32.itemsize:
            options["mp_policy"] = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        # A sum, not a mean: the loss is divided by the global batch.
        divided: Any = fully_shard(model, **options)
        register_fsdp_forward_method(divided, "next_q_values")
        divided.set_force_sum_reduction_for_comms(True)
        divided.set_gradient_divide_factor(1.0)
    except (ImportError, TypeError, AttributeError):
        raise ValueError(f"sharding needs PyTorch 2.8 or newer, this is {torch.__version__}") from None
    # Q values are views; nothing writes into them.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor; the tensor itself if it is not divided."""
    return tensor.to_local() if is_divided(tensor) else tensor  # type: ignore[attr-defined]


def is_divided(tensor: Any) -> bool:
    """Whether each rank has a part of it."""
    return isinstance(tensor, Tensor) and hasattr(tensor, "full_tensor")


def gathered(state: Any) -> Any:
    """A nested state with whole tensors in place of divided ones. All ranks must call."""
    return tree_map(lambda t: t.full_tensor() if is_divided(t) else t, state)


def divided_like(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which every rank has, divided as `like` is."""
    if not is_divided(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    placed = whole.to(like.device, like.dtype)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore


@torch.no_grad()
def load(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors."""
    own = model.state_dict()
    if any(map(is_divided, own.values())):
        tensors = {name: divided_like(tensor, own[name]) for name, tensor in tensors.items()}
    model.load_state_dict(dict(tensors))


def divided_state(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's state of whole tensors, divided as its weights are."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not any(map(is_divided, weights)):
        return dict(saved)
    state = {
        number: {
            # The counter of steps is a scalar.
            name: divided_like(value, weights[number]) if value.shape == weights[number].shape else value
            for name, value in values.items()
        }
        for number, values in saved["state"].items()
    }
    return {**saved, "state": state}
