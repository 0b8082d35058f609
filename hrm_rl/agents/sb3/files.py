"""Files of Stable-Baselines3 that others wrote: weights are read, nothing is unpickled.

`model.save` writes a zip: tensors (`policy.pth`) beside pickled settings (`data`). SB3's `load` unpickles
these, and a pickle may run any code. Here only the tensors are read; the network's shape comes from
the model that you made yourself.
"""

import copy
import io
import os
import zipfile
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

WEIGHTS = "policy.pth"
"""Where in the zip the policy's tensors are."""


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The policy's tensors in a zip of SB3's `model.save`, on the CPU.

    Raises ValueError, naming the file: no such file, no such zip, or more than plain tensors in it.
    """
    path = os.fspath(path)
    try:
        with zipfile.ZipFile(path) as archive:
            state = torch.load(io.BytesIO(archive.read(WEIGHTS)), "cpu", weights_only=True)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no file of an SB3 policy ({error})") from None
    except Exception as error:  # torch raises pickle's errors, of many kinds
        raise ValueError(f"{path} holds no plain weights ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} holds no plain weights (its {WEIGHTS} is no dict of tensors)")
    return state


def load_weights(model: BaseAlgorithm, path: str | os.PathLike[str]) -> None:
    """Give a model the policy's weights of a zip, which may come from anybody: no code in it runs.

        model = PPO("MlpPolicy", env, policy_kwargs=hrm_policy_kwargs(hidden_size=64, segments=4))
        load_weights(model, "theirs.zip")

    As for SB3, `.zip` may be left out of the name. The optimizer's state stays the model's own. A model
    that cannot take the weights keeps those it had.

    Raises ValueError, naming the file: not readable (see `read_weights`), trained on other
    observations than the model's, or another network.
    """
    path = os.fspath(path)
    if not os.path.exists(path) and os.path.exists(f"{path}.zip"):
        path = f"{path}.zip"
    state = read_weights(path)
    before: dict[str, Any] = copy.deepcopy(model.get_parameters())
    try:
        # All of the model's parameters, so that SB3 insists on a tensor for each of the policy's.
        model.set_parameters(before | {"policy": state})
    except Exception as error:  # of many kinds, where a file is made to be odd
        model.set_parameters(before)
        if not isinstance(error, RuntimeError):  # the tokenizer's own refusal, which says it all
            raise ValueError(f"{path}: {error}") from None
        lines = str(error).splitlines()  # torch lists all that does not match
        first = (lines[1:] or lines)[0].strip()
        first = first if len(first) <= 150 else f"{first[:147]}..."
        raise ValueError(
            f"{path} holds another network than this model's ({first}); make the model with the "
            f"policy_kwargs that the file was trained with"
        ) from None
