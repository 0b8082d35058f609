"""Training steps of other implementations, from local clones: the reference's, TRM's and lucidrains'.

PyTorch's fused attention replaces FlashAttention, and our AdamATan2 the compiled one, as a machine may lack
them. Sources: github.com/sapientinc/HRM and github.com/SamsungSAILMontreal/TinyRecursiveModels, `pretrain.py`
(`create_model`, `train_batch`); github.com/lucidrains/HRM, `HRM/hrm.py`.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hrm_rl.agents.learning.optim import AdamATan2
from hrm_rl.bench.roofline import count
from hrm_rl.model import HRMConfig, ReasoningModel

Whose = Literal["sapientinc/HRM", "SamsungSAILMontreal/TinyRecursiveModels", "lucidrains/HRM"]

_SHARED = ("models.losses", "models.sparse_embedding")
# The modules of each, the one with its model first.
_MODULES: dict[Whose, tuple[str, ...]] = {
    "sapientinc/HRM": ("models.hrm.hrm_act_v1", *_SHARED),
    "SamsungSAILMontreal/TinyRecursiveModels": ("models.recursive_reasoning.trm", *_SHARED),
    "lucidrains/HRM": ("HRM.hrm",),
}
_MODEL: dict[Whose, str] = {
    "sapientinc/HRM": "HierarchicalReasoningModel_ACTV1",
    "SamsungSAILMontreal/TinyRecursiveModels": "TinyRecursiveReasoningModel_ACTV1",
    "lucidrains/HRM": "HRM",
}


def whose(directory: Path) -> Whose:
    """Whose code a clone holds. Raises FileNotFoundError if none that is known."""
    for owner, modules in _MODULES.items():
        if all((directory / (name.replace(".", "/") + ".py")).is_file() for name in modules):
            return owner
    files = ", ".join(name[0].replace(".", "/") + ".py" for name in _MODULES.values())
    raise FileNotFoundError(f"{directory} is not a clone of {', '.join(_MODULES)}: it has none of {files}")


class CloneStep:
    """A model and an optimizer of another implementation; `step()` is one of its training steps."""

    optimizers: list[torch.optim.Optimizer]

    def loss(self) -> Tensor:
        """The loss of the batch's next segment; the carry goes on."""
        raise NotImplementedError

    def after(self) -> None:
        """What its trainer does at the end of a step."""

    def step(self) -> float:
        """Forward, backward and update; returns the loss, which its trainer also reads at every step."""
        loss = self.loss()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.after()
        return float(loss.detach())


class ReferenceStep(CloneStep):
    """The reference's or TRM's, which share their trainer.

    Args:
        directory: a clone.
        config: the architecture; a puzzle embedding adds a sparse optimizer.
        weights: initial weights, shared with ours.
        batch: `inputs`, `labels`, `puzzle_identifiers` (int32, as its data loader gives them).
        device: a PyTorch device.
        compile: use its torch.compile; otherwise eager.

    Raises:
        FileNotFoundError: `directory` is not a clone.
        ValueError: a package that it needs is missing.
    """

    def __init__(
        self,
        directory: Path,
        config: HRMConfig,
        weights: ReasoningModel,
        batch: dict[str, Tensor],
        device: str,
        *,
        compile: bool,
    ) -> None:
        owner, (models, losses, embedding) = whose(directory), load(directory)
        self.rows = len(batch["inputs"])
        settings = config.to_dict() | {"batch_size": self.rows, "causal": False}
        with torch.device(device):
            model = getattr(models, _MODEL[owner])(settings)
            head = losses.ACTLossHead(model, "stablemax_cross_entropy")
        model.inner.load_state_dict(weights.state_dict(), strict=False)
        self.batch = {name: value.to(device) for name, value in batch.items()}
        self.optimizers = [AdamATan2(head.parameters(), 1e-4)]
        if config.embedding_width:
            sparse = embedding.CastedSparseEmbeddingSignSGD_Distributed
            table = sparse(model.puzzle_emb.buffers(), world_size=1, lr=1e-4, weight_decay=1.0)
            self.optimizers.insert(0, table)
        self._head = head
        self.head: Any = torch.compile(head, dynamic=False) if compile else head
        with torch.device(device):
            self.carry = head.initial_carry(self.batch)

    def loss(self) -> Tensor:
        self.carry, loss, self._metrics, _, _ = self.head(carry=self.carry, batch=self.batch, return_keys=[])
        return loss / self.rows

    def after(self) -> None:
        # Its trainer copies the metrics to the host at each step.
        torch.stack([self._metrics[name].float() for name in sorted(self._metrics)]).cpu()

    def evaluating(self) -> "ReferenceStep":
        """Switch to evaluation, for `segment`: no target, and nothing halts."""
        self._head.eval()
        return self

    @torch.no_grad()
    def segment(self) -> None:
        """One segment, as its evaluation runs it."""
        self.carry, *_ = self.head(carry=self.carry, batch=self.batch, return_keys=[])


class LucidrainsStep(CloneStep):
    """lucidrains': as in its README, with the blocks of `config`, one segment a step. It has no halting, no
    Q-learning and no puzzle embedding, and computes bfloat16 by autocast. Arguments as of `ReferenceStep`."""

    def __init__(
        self, directory: Path, config: HRMConfig, batch: dict[str, Tensor], device: str, *, compile: bool
    ) -> None:
        (module,) = load(directory)
        block = {
            "dim": config.hidden_size,
            "heads": config.num_heads,
            "attn_dim_head": config.head_dim,
            "attn_flash": True,
            "rotary_pos_emb": True,
            "rotary_emb_dim": config.head_dim,
            "use_rmsnorm": True,
            "pre_norm": False,
            "ff_glu": True,
            "ff_swish": True,
            "ff_no_bias": True,
            "ff_mult": config.swiglu_width / config.hidden_size,
        }
        model: nn.Module = module.HRM(
            networks=[block | {"depth": layers} for layers in (config.L_layers, config.H_layers)],
            dim=config.hidden_size,
            num_tokens=config.vocab_size,
            reasoning_steps=config.H_cycles,
            relative_period=config.L_cycles,
        ).to(device)
        self.inputs, self.labels = (batch[name].long().to(device) for name in ("inputs", "labels"))
        self.optimizers = [AdamATan2(model.parameters(), 1e-4)]
        self.model: Any = torch.compile(model, dynamic=False) if compile else model
        half, kind = config.forward_dtype == "bfloat16", "cuda" if device.startswith("cuda") else "cpu"
        self._cast = torch.autocast(kind, torch.bfloat16, enabled=half)
        self.hiddens: Any = None

    def loss(self) -> Tensor:
        with self._cast:
            loss, hiddens, _ = self.model(self.inputs, self.hiddens, labels=self.labels)
        self.hiddens = tuple(hidden.detach() for hidden in hiddens)
        return loss


def clone_step(
    directory: Path,
    config: HRMConfig,
    weights: ReasoningModel,
    batch: dict[str, Tensor],
    device: str,
    *,
    compile: bool,
) -> CloneStep:
    """The step of whatever implementation a clone holds. Arguments and errors as of `ReferenceStep`."""
    if whose(directory) == "lucidrains/HRM":
        return LucidrainsStep(directory, config, batch, device, compile=compile)
    return ReferenceStep(directory, config, weights, batch, device, compile=compile)


def clone_flops(
    directory: Path, config: HRMConfig, weights: ReasoningModel, batch: dict[str, Tensor]
) -> float:
    """Operations of a clone's step on these rows, counted in a step of the first row."""
    first = {name: value[:1] for name, value in batch.items()}
    step = clone_step(directory, config, weights, first, "cpu", compile=False)
    with sdpa_kernel(SDPBackend.MATH):  # PyTorch does not count a CPU's fused attention
        return len(batch["inputs"]) * count(lambda: step.loss().backward()).flops


def load(directory: Path) -> list[types.ModuleType]:
    """The clone's modules, imported under their own top-level name, in place of another clone's.

    Raises FileNotFoundError or ValueError if it is not a clone, or a package that it needs is missing.
    """
    directory, names = directory.resolve(), _MODULES[whose(directory)]
    top = names[0].split(".")[0]
    for name in [n for n in sys.modules if n.split(".")[0] == top]:
        if not Path(getattr(sys.modules[name], "__file__", None) or directory).is_relative_to(directory):
            del sys.modules[name]
    with _importable(directory):
        try:
            found = [importlib.import_module(name) for name in names]
        except ModuleNotFoundError as error:
            raise ValueError(f"{directory} needs {error.name}: pip install {error.name}") from None
    layers: Any = sys.modules.get("models.layers")
    if hasattr(layers, "scaled_dot_product_attention"):  # TRM's
        layers.scaled_dot_product_attention = _attention_of_heads
    return found


@contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Put the clone on the import path, with a stand-in for FlashAttention."""
    sys.path.insert(0, str(directory))
    stub: Any = types.ModuleType("flash_attn")
    stub.flash_attn_func = _attention
    added = [n for n in ("flash_attn_interface", "flash_attn") if n not in sys.modules]
    sys.modules.update({name: stub for name in added})
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        for name in added:
            del sys.modules[name]


def _attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """FlashAttention's signature, [B, T, heads, head_dim], on PyTorch's fused attention."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return _attention_of_heads(q, k, v, is_causal=causal).transpose(1, 2)


def _attention_of_heads(*args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's fused attention, [B, heads, T, head_dim], laid out as [B, T, heads, head_dim] for
    TRM's code."""
    mixed = F.scaled_dot_product_attention(*args, **kwargs)
    return mixed.transpose(1, 2).contiguous().transpose(1, 2)
