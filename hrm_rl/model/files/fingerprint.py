"""The identity of a model: a hash of its configuration and weights."""

import hashlib
import json
from typing import Any, Protocol

import torch

from hrm_rl.model.config import HRMConfig

# Stored in forward_dtype, so hashed in bfloat16, the coarsest usual type.
_STARTS = ("H_init", "L_init")
# Settings that came after the first hashes were stored, with the value that those models had.
_LATER = {
    "relation_bias": False,
    "architecture": "hrm",
    "mixer": "attention",
    "mixer_width": None,
    "puzzle_emb_len": 0,
    "norm_gated": False,
    "relaxation": 1.0,
}


class Model(Protocol):
    """The part of a model that is hashed."""

    config: HRMConfig

    def state_dict(self) -> dict[str, Any]: ...


def model_hash(model: Model) -> str:
    """SHA-256 of the configuration and the weights of a model, 64 hexadecimal digits.

    The hash does not depend on `forward_dtype` or the device: weights are always float32.
    """
    config = dict(sorted(model.config.to_dict().items()))
    for name, value in [("forward_dtype", model.config.forward_dtype), *_LATER.items()]:
        if config[name] == value:
            del config[name]
    digest = hashlib.sha256(json.dumps(config).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if name in _STARTS:
            tensor = tensor.to(torch.bfloat16)
        array = tensor.detach().float().cpu().contiguous().numpy()
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
