"""Read weights from Stable-Baselines3's files without unpickling anything.

`model.save` writes a zip: tensors (`policy.pth`) beside pickled settings (`data`). SB3's `load` unpickles
the settings, and a pickle may run any code. Here only the tensors are read; the network's shape comes from a
model that the caller has made.
"""

import copy
import io
import os
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from hrm_rl.messages import shortened
from hrm_rl.stored.archives import open_archive, read_entry
from hrm_rl.stored.torch_file import read_torch_file

WEIGHTS = "policy.pth"
"""The entry of the zip that holds the policy's tensors."""


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the policy's tensors from a zip of SB3's `model.save`, to the CPU.

    Raises ValueError, naming the file, if it is missing, is not such a zip, or holds more than tensors.
    """
    path = os.fspath(path)
    try:
        with open_archive(path) as archive:
            state = read_torch_file(io.BytesIO(read_entry(archive, WEIGHTS)))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not the file of an SB3 policy ({error})") from None
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds more than weights (its {WEIGHTS} is not a dict of tensors)")
    return state


def load_weights(model: BaseAlgorithm, path: str | os.PathLike[str]) -> None:
    """Load a policy's weights from a zip of any origin into a model; no code in the zip runs.

        model = PPO("MlpPolicy", env, policy_kwargs=hrm_policy_kwargs(hidden_size=64, segments=4))
        load_weights(model, "theirs.zip")

    As in SB3, the name may omit `.zip`. The state of the optimizer does not change, and after an error
    neither do the weights.

    Raises ValueError, naming the file, if it is not readable (see `read_weights`), was trained on other
    observations, or holds another network.
    """
    path = os.fspath(path)
    if not os.path.exists(path) and os.path.exists(f"{path}.zip"):
        path = f"{path}.zip"
    state = read_weights(path)
    before: dict[str, Any] = copy.deepcopy(model.get_parameters())
    try:
        # All of the model's parameters, so that SB3 insists on a tensor for each of the policy's.
        model.set_parameters(before | {"policy": state})
    except Exception as error:  # of many kinds, for a malformed file
        model.set_parameters(before)
        if not isinstance(error, RuntimeError):  # from the tokenizer, whose message is complete
            raise ValueError(f"{path}: {error}") from None
        lines = str(error).splitlines()  # torch lists every mismatch
        first = shortened((lines[1:] or lines)[0], 150)
        raise ValueError(
            f"{path} holds another network than this model's ({first}); make the model with the "
            f"policy_kwargs of the one that was saved"
        ) from None
