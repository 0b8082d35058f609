"""Layouts of public checkpoints: how they are recognised, and their settings and tensors here.

| layout | public code | recognised by |
| --- | --- | --- |
| hrm | sapientinc/HRM | H_level and L_level |
| trm | SamsungSAILMontreal/TinyRecursiveModels | L_level alone, H_init and L_init |
| eqr | locuslab/EqR (arXiv 2605.21488) | L_level alone, no initial states: episodes start from random ones |

TRM and EqR become architecture trm. Where their q_continue was never trained it becomes 0, so that the rule
`q` is theirs, q_halt > 0. EqR starts from zeros here, the mean of its random states, and runs without the
noise of its calls; `hrm_rl.model.noise` has random starts, and noise between segments.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hrm_rl.model.files.weights import PUZZLE_TABLE

TOKENS = "embed_tokens.embedding_weight"
_HEADS = ("lm_head.weight", "q_head.weight", "q_head.bias")
_POSITIONS, _MIXER = "embed_pos.embedding_weight", "L_level.layers.0.mlp_t.gate_up_proj.weight"
# Settings of these codes that are read here, or describe training and noise.
_TRANSLATED: tuple[str, ...] = ("mlp_t", "no_ACT_continue", "lambda_", "short_name", "noise_scale")
_TRANSLATED += ("H_init_std", "L_init_std")
_TRANSLATED += ("board_height", "board_width", "disable_act_halt", "act_inference", "halt_threshold")
_TRANSLATED += ("halt_confirm_steps", "halt_confirm_mode")


def layout_of(tensors: Mapping[str, Tensor], name: str) -> str:
    """The layout of a state dict with bare names.

    Raises ValueError naming the tensors that were looked for if it has none of them.
    """
    missing = [key for key in (TOKENS, *_HEADS) if key not in tensors]
    if not count_layers(tensors, "L_level"):
        missing.append("L_level.layers.*")
    if missing:
        has = ", ".join(list(tensors)[:3])
        raise ValueError(
            f"{name} has an unknown layout: checkpoints of HRM, TRM and EqR have {', '.join(missing)}, which "
            f"it lacks; it has {has}, ..."
        )
    for key in (TOKENS, PUZZLE_TABLE, _POSITIONS, _MIXER, *_HEADS):
        wanted = 1 if key == "q_head.bias" else 2
        if key in tensors and tensors[key].ndim != wanted:
            shape = list(tensors[key].shape)
            raise ValueError(
                f"{name} has an unknown layout: {key} must have {wanted} dimensions, got {shape}"
            )
    if count_layers(tensors, "H_level"):
        return "hrm"
    starts = sorted(key for key in tensors if key.endswith("_init"))
    if starts and starts != ["H_init", "L_init"]:
        raise ValueError(
            f"{name} has an unknown layout: with L_level alone TRM has H_init and L_init, EqR neither; it "
            f"has {', '.join(starts)}"
        )
    return "trm" if starts else "eqr"


def count_layers(tensors: Mapping[str, Tensor], module: str) -> int:
    """The number of blocks of a module."""
    numbers = (re.match(rf"{module}\.layers\.([0-9]{{1,9}})\.", key) for key in tensors)
    return max((int(number[1]) for number in numbers if number), default=-1) + 1


def usual_settings(layout: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of the papers, for a checkpoint without any."""
    width = tensors[TOKENS].shape[1]
    rotary = "none" if _MIXER in tensors else "rope"
    settings: dict[str, Any] = {
        "hidden_size": width,
        "num_heads": max(1, width // 64),
        "L_layers": count_layers(tensors, "L_level"),
        "pos_encodings": "learned" if _POSITIONS in tensors else rotary,
    }
    if layout == "hrm":
        return settings | {"H_layers": count_layers(tensors, "H_level")}
    settings |= {"H_cycles": 3, "L_cycles": 6 if len(tensors[TOKENS]) == 11 else 4}  # 11: Sudoku
    return settings | ({"puzzle_emb_len": 16} if layout == "trm" else {"num_heads": 8, "lambda_": 0.95})


def translate(
    layout: str, arch: Mapping[str, Any], tensors: Mapping[str, Tensor], seq_len: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings for `HRMConfig.from_dict`, and the tensors that this model takes.

    Raises ValueError for a board that is not square.
    """
    table = tensors.get(PUZZLE_TABLE)
    settings = {name: value for name, value in arch.items() if name not in _TRANSLATED}
    settings["vocab_size"], settings["seq_len"] = tensors[TOKENS].shape[0], seq_len
    settings["num_puzzle_identifiers"] = 1 if table is None else table.shape[0]
    settings["puzzle_emb_ndim"] = 0 if table is None else table.shape[1]
    if _MIXER in tensors:
        settings["mixer"] = "mlp"
    if layout == "hrm":
        return settings, dict(tensors)
    settings["architecture"] = "trm"
    settings["H_layers"] = settings.get("L_layers", 2)  # not read
    settings["relaxation"] = arch.get("lambda_", arch.get("relaxation", 1.0))
    lengths = [tensors[key].shape[axis] for key, axis in ((_MIXER, 1), (_POSITIONS, 0)) if key in tensors]
    if table is None:
        settings["puzzle_emb_len"] = 0
    elif lengths:
        settings["puzzle_emb_len"] = max(lengths) - seq_len
    positions = arch.get("pos_encodings", "rope")
    if positions is None:
        settings["pos_encodings"] = "none"
    boards = positions == "rope2d"
    if boards:
        settings["pos_encodings"] = "rope-2d"
        height, width = (arch.get(f"board_{side}") for side in ("height", "width"))
        if height != width:
            raise ValueError(f"rope2d of a board of {height} x {width}: only square boards are supported")
    heads = settings.get("num_heads", 8) if boards and _MIXER not in tensors else None
    return settings, _tensors(tensors, heads, learned_continue=not arch.get("no_ACT_continue", True))


def _tensors(tensors: Mapping[str, Tensor], heads: Any, learned_continue: bool) -> dict[str, Tensor]:
    """The tensors of TRM or EqR as this model takes them; `heads` of an attention that turns on a board."""
    starts = {name: torch.zeros(tensors[TOKENS].shape[1]) for name in ("H_init", "L_init")}
    found = starts | dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith("q_head.") and not learned_continue:
            found[name] = torch.cat((tensor[:1], torch.zeros_like(tensor[1:])))
        elif name.endswith("qkv_proj.weight") and heads is not None:
            found[name] = _as_our_board_rope(name, tensor, heads)
    return found


def _as_our_board_rope(name: str, qkv: Tensor, heads: Any) -> Tensor:
    """A matrix of q, k and v, [3 D, D], with the channels of each head of q and k in our order.

    There the first half of a head's channels turns with the row and the second with the column, each in
    pairs a quarter apart; here pairs are half a head apart.
    """
    if not isinstance(heads, int) or heads < 1 or qkv.ndim != 2 or len(qkv) % (12 * heads):
        raise ValueError(f"{name} of shape {list(qkv.shape)} cannot be divided among {heads!r} heads")
    parts = qkv.reshape(3, heads, 4, -1, qkv.shape[1])
    turned = parts[:2, :, [0, 2, 1, 3]]
    return torch.cat((turned, parts[2:])).reshape(qkv.shape)
