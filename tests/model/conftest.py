"""Tiny models, and a segment written from the equations without the package's layers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.model import HRM, Carry, HRMConfig

SHAPE: dict[str, Any] = {
    "seq_len": 5,
    "num_puzzle_identifiers": 3,
    "puzzle_emb_ndim": None,
    "hidden_size": 16,
    "L_layers": 2,
    "pos_encodings": "rope",
}


def naive_segment(
    model: HRM, carry: Carry, inputs: Tensor, ids: Tensor, detach_before: int = 0
) -> tuple[Carry, Tensor, Tensor]:
    """One segment from the equations: (carry, logits [B, S, V], q [B, 2]).

    Calls are numbered L L .. H, L L .. H; those before `detach_before` leave no gradient.
    """
    c, p = model.config, dict(model.named_parameters())
    x = F.one_hot(inputs.long(), c.vocab_size).to(p["lm_head.weight"].dtype)
    x = x @ p["embed_tokens.embedding_weight"]
    prefix = c.prefix_len
    if prefix:
        rows = x.new_zeros(len(ids), prefix * c.hidden_size)
        rows = torch.cat((p["puzzle_emb.weights"][ids], rows[:, c.embedding_width :]), dim=1)
        x = torch.cat((rows.reshape(len(ids), prefix, -1), x), dim=1)
    if c.pos_encodings == "learned":
        x = (x + p["embed_pos.embedding_weight"]) * 0.707106781
    x = x * math.sqrt(c.hidden_size)

    bias = x.new_zeros(c.num_heads, 1, 1)
    if c.relation_bias:
        bias = p["relation_bias.weight"].T[:, model.relation_bias.relations.long()]

    def module(level: str, layers: int, z: Tensor) -> Tensor:
        for n in range(layers):
            w = {k: p.get(f"{level}.layers.{n}.{k}.weight") for k in _MATRICES}
            if c.mixer == "mlp":
                z = _norm(z.mT + _swiglu(z.mT, w, "mlp_t", c), c.rms_norm_eps).mT
            else:
                z = _norm(z + _mix(z, w, c, bias), c.rms_norm_eps)
            z = _norm(z + _swiglu(z, w, "mlp", c), c.rms_norm_eps)
        return z

    (z_H, z_L), call = carry, 0
    for _ in range(c.H_cycles if c.architecture != "direct" else 0):
        for step in range(c.L_cycles + 1):
            if c.architecture == "recurrent":
                z_H = z_L = module("L_level", c.L_layers, z_H + x)
            elif step < c.L_cycles:
                z_L = module("L_level", c.L_layers, z_L + z_H + x)
            elif c.architecture == "trm":
                z_H = module("L_level", c.L_layers, z_H + z_L)
            else:
                z_H = module("H_level", c.H_layers, z_H + z_L)
            call += 1
            if call <= detach_before:
                z_H, z_L = z_H.detach(), z_L.detach()
    if c.architecture == "direct":
        z_H = z_L = module("L_level", c.H_layers + c.L_layers, x)
    logits = z_H[:, prefix:] @ p["lm_head.weight"].T
    return Carry(z_H, z_L), logits, z_H[:, 0] @ p["q_head.weight"].T + p["q_head.bias"]


_MATRICES = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
_MATRICES += ("mlp_t.gate_up_proj", "mlp_t.down_proj")


def _swiglu(x: Tensor, w: dict[str, Tensor], name: str, c: HRMConfig) -> Tensor:
    gate, up = (x @ w[f"{name}.gate_up_proj"].T).tensor_split(2, dim=-1)
    inner = _norm(gate * up, c.rms_norm_eps) if c.norm_gated else gate * up
    return (torch.sigmoid(gate) * inner) @ w[f"{name}.down_proj"].T


def _norm(x: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def _mix(x: Tensor, w: dict[str, Tensor], c: HRMConfig, bias: Tensor) -> Tensor:
    """Attention head by head, the rotation by complex numbers."""
    size, out = c.head_dim, []
    q_rows, k_rows, v_rows = w["self_attn.qkv_proj"].tensor_split(3)
    for head in range(c.num_heads):
        rows = slice(head * size, (head + 1) * size)
        q, k, v = x @ q_rows[rows].T, x @ k_rows[rows].T, x @ v_rows[rows].T
        if c.pos_encodings == "rope":
            q, k = turned(q, c.rope_theta), turned(k, c.rope_theta)
        out.append(((q @ k.mT) / math.sqrt(size) + bias[head]).softmax(-1) @ v)
    return torch.cat(out, dim=-1) @ w["self_attn.o_proj"].T


def turned(x: Tensor, theta: float) -> Tensor:
    """RoPE of [..., T, size]: numbers n and n + size / 2 are one complex number, turned."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2]).double()[:, None] * theta ** (-torch.arange(half).double() / half)
    z = torch.complex(x[..., :half].double(), x[..., half:].double()) * torch.exp(1j * angles)
    return torch.cat((z.real, z.imag), dim=-1).to(x.dtype)


@pytest.fixture
def config(tiny_hrm) -> Callable[..., HRMConfig]:
    """Makes the configuration of `build`'s models."""
    settings = tiny_hrm(**SHAPE).config.to_dict() | {"puzzle_emb_ndim": None}
    return lambda **changes: HRMConfig(**(settings | changes))


@pytest.fixture
def build(tiny_hrm) -> Callable[..., HRM]:
    """Makes the tiny HRM for five cells and three puzzles, with a nonzero Q head and puzzle embeddings."""

    def make(**changes: Any) -> HRM:
        model = tiny_hrm(**(SHAPE | changes))
        with torch.no_grad():
            model.q_head.weight.normal_()
            if model.puzzle_emb is not None:
                model.puzzle_emb.weights.normal_()
        return model

    return make


@pytest.fixture
def naive() -> Callable[..., tuple[Carry, Tensor, Tensor]]:
    return naive_segment


@pytest.fixture
def turn() -> Callable[[Tensor, float], Tensor]:
    return turned


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Inputs [3, 5] and identifiers [3]."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(6, (3, 5), generator=generator), torch.tensor([0, 2, 2])
