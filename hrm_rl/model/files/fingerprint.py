"""Which model is this? A hash of its configuration and weights."""

import hashlib
import json

import torch

from hrm_rl.model.hrm import HRM

# Drawn once and kept in forward_dtype, so they are hashed as the coarsest of the usual types has them.
_STARTS = ("H_init", "L_init")


def model_hash(model: HRM) -> str:
    """SHA-256 of the configuration and the weights, 64 hexadecimal digits.

    The same model opened in another `forward_dtype` or on another device has the same hash: weights are
    float32 in all of them.
    """
    config = {k: v for k, v in sorted(model.config.to_dict().items()) if k != "forward_dtype"}
    digest = hashlib.sha256(json.dumps(config).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if name in _STARTS:
            tensor = tensor.to(torch.bfloat16)
        array = tensor.detach().float().cpu().contiguous().numpy()
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
