"""The reference implementation's training step, from a local clone.

PyTorch's fused attention replaces FlashAttention, and our AdamATan2 the compiled one, as a machine may lack
them. Source: github.com/sapientinc/HRM, `pretrain.py` (`create_model`, `train_batch`).
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.agents.learning.optim import AdamATan2
from hrm_rl.model import HRM, HRMConfig

_MODULES = ("models.hrm.hrm_act_v1", "models.losses", "models.sparse_embedding")


class ReferenceStep:
    """A model and an optimizer of the reference; `step()` is one of its training steps.

    Args:
        directory: a clone of the reference.
        config: the architecture; a puzzle embedding adds a sparse optimizer.
        weights: initial weights, shared with ours.
        batch: `inputs`, `labels`, `puzzle_identifiers` (int32, as its data loader gives them).
        device: a PyTorch device.
        compile: use its torch.compile; otherwise eager.

    Raises:
        FileNotFoundError: `directory` is not a clone of the reference.
        ValueError: a package that the reference needs is missing.
    """

    def __init__(
        self,
        directory: Path,
        config: HRMConfig,
        weights: HRM,
        batch: dict[str, Tensor],
        device: str,
        *,
        compile: bool,
    ) -> None:
        models, losses, embedding = _load(directory)
        rows = len(batch["inputs"])
        settings = config.to_dict() | {"batch_size": rows, "causal": False}
        with torch.device(device):
            model = models.HierarchicalReasoningModel_ACTV1(settings)
            head = losses.ACTLossHead(model, "stablemax_cross_entropy")
        model.inner.load_state_dict(weights.state_dict(), strict=False)
        self.batch = {name: value.to(device) for name, value in batch.items()}
        self.optimizers: list[torch.optim.Optimizer] = [AdamATan2(head.parameters(), 1e-4)]
        if config.embedding_width:
            sparse = embedding.CastedSparseEmbeddingSignSGD_Distributed
            table = sparse(model.puzzle_emb.buffers(), world_size=1, lr=1e-4, weight_decay=1.0)
            self.optimizers.insert(0, table)
        self._head = head
        self.head: Any = torch.compile(head, dynamic=False) if compile else head
        with torch.device(device):
            self.carry = head.initial_carry(self.batch)

    def step(self) -> float:
        """Forward, backward and update; returns the loss, which its trainer also reads at every step."""
        self.carry, loss, metrics, _, _ = self.head(carry=self.carry, batch=self.batch, return_keys=[])
        (loss / len(self.batch["inputs"])).backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        # Its trainer copies the metrics to the host at each step.
        torch.stack([metrics[name].float() for name in sorted(metrics)]).cpu()
        return float(loss.detach())

    def evaluating(self) -> "ReferenceStep":
        """Switch to evaluation, for `segment`: no target, and nothing halts."""
        self._head.eval()
        return self

    @torch.no_grad()
    def segment(self) -> None:
        """One segment, as its evaluation runs it."""
        self.carry, *_ = self.head(carry=self.carry, batch=self.batch, return_keys=[])


def check_clone(directory: Path) -> None:
    """Raise FileNotFoundError if `directory` is not a clone of the reference."""
    for file in (name.replace(".", "/") + ".py" for name in _MODULES):
        if not (directory / file).is_file():
            raise FileNotFoundError(f"{directory} is not a clone of sapientinc/HRM: {file} is missing")


def _load(directory: Path) -> list[types.ModuleType]:
    """The clone's modules, imported once under their top-level name `models`."""
    check_clone(directory)
    with _importable(directory):
        try:
            return [importlib.import_module(name) for name in _MODULES]
        except ModuleNotFoundError as error:
            raise ValueError(f"the reference needs {error.name}: pip install {error.name}") from None


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
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).contiguous()
