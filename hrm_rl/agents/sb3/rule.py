"""A policy of Stable-Baselines3 as a rule for stopping: `sb3:ALGO:FILE`.

FILE is the zip that SB3's `model.save` writes. `Sb3Rule.save` adds a note of what the policy was
trained on. Only weights are read from it, never SB3's pickled settings, so a file from elsewhere runs
no code; the network's shape comes from the note, and is SB3's default without one.
"""

import io
import json
import os
import zipfile
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hrm_rl.agents.sb3.files import WEIGHTS, read_weights
from hrm_rl.envs.halting.bank import halting_observation_space
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.provenance import FittedOn
from hrm_rl.halting.rules import Named
from hrm_rl.halting.vector import FEATURE_NAMES, feature_vector

ALGORITHMS = {
    "dqn": ("stable_baselines3", "DQN"),
    "ppo": ("stable_baselines3", "PPO"),
    "a2c": ("stable_baselines3", "A2C"),
    "qrdqn": ("sb3_contrib", "QRDQN"),
}
"""Name in a spec -> where the algorithm is."""

_NOTE, _IDS = "hrm_rl.json", "hrm_rl_puzzle_ids.npy"


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The class of `dqn`, `ppo`, `a2c` or `qrdqn`.

    Raises ValueError for another name, or where sb3-contrib is needed and not installed.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {name!r}; known: {', '.join(ALGORITHMS)}")
    module, kind = ALGORITHMS[name]
    try:
        return getattr(import_module(module), kind)
    except ModuleNotFoundError:
        raise ValueError(
            f"algorithm {name!r} needs sb3-contrib: pip install 'hrm_rl[sb3]'"
        ) from None


@dataclass(frozen=True, eq=False)
class Sb3Rule(Named):
    """Stop where the policy, without its exploration, takes action 1 on the feature vector.

    `fitted_on` is None of policies that were not trained by `train_sb3`: whether they are judged on
    puzzles they learned from is then for their owner to know.
    """

    name = "sb3"
    algo: str
    policy: BasePolicy
    fitted_on: FittedOn | None = None
    max_segments: int | None = None
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    pooled: bool = False
    path: str | None = None

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"pooled_z_H"} if self.pooled else ())

    def __str__(self) -> str:
        return f"{self.name}:{self.algo}:{self.path}" if self.path else f"{self.name}:{self.algo}"

    @torch.no_grad()
    def __call__(self, features: SegmentFeatures) -> Tensor:
        seen = feature_vector(features, pooled=self.pooled)
        halt = self.policy.to(seen.device)._predict(seen, deterministic=True) == 1
        if self.max_segments is not None:
            halt = halt | (features.segment >= self.max_segments)
        return halt

    def save(self, path: str | os.PathLike[str]) -> "Sb3Rule":
        """Keep the rule in a zip; gives it back with its spec string naming that file.

        Raises ValueError for a path with a comma or a parenthesis, which a spec could not hold.
        """
        path = os.fspath(path)
        if set(path) & set("(),"):
            raise ValueError(f"{path!r}: a rule's file may hold no comma and no parenthesis")
        note: dict[str, Any] = {
            "format": 1,
            "algo": self.algo,
            "policy_kwargs": self.policy_kwargs,
            "pooled": self.pooled,
            "max_segments": self.max_segments,
            "features": list(FEATURE_NAMES),
        }
        weights, ids = io.BytesIO(), io.BytesIO()
        torch.save({k: v.cpu() for k, v in self.policy.state_dict().items()}, weights)
        if self.fitted_on is not None:
            note |= {
                name: getattr(self.fitted_on, name) for name in ("model_hash", "split", "cost")
            }
            np.save(ids, self.fitted_on.puzzle_ids)
        if directory := os.path.dirname(path):
            os.makedirs(directory, exist_ok=True)
        temporary = f"{path}.{os.getpid()}.tmp"
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(WEIGHTS, weights.getvalue())
            archive.writestr(_NOTE, json.dumps(note))
            if self.fitted_on is not None:
                archive.writestr(_IDS, ids.getvalue())
        os.replace(temporary, path)
        return replace(self, path=path)


def load_rule(algo: str, path: str | os.PathLike[str]) -> Sb3Rule:
    """The rule of a zip written by `Sb3Rule.save`, or by SB3's own `model.save`.

    Raises ValueError: an unknown algorithm, or a file that holds no such policy.
    """
    path = os.fspath(path)
    kind = algorithm(algo)
    state = read_weights(path)
    note: dict[str, Any] = {}
    fitted_on = None
    try:
        with zipfile.ZipFile(path) as archive:
            if _NOTE in archive.namelist():
                note = json.loads(archive.read(_NOTE))
            if _IDS in archive.namelist():
                ids = np.load(io.BytesIO(archive.read(_IDS)), allow_pickle=False)
                fitted_on = FittedOn(note["model_hash"], ids, note["split"], note["cost"])
    except Exception as error:  # zip, JSON and NumPy raise errors of many kinds
        raise ValueError(f"{path} is no file of an SB3 policy ({error})") from None
    if note and note["algo"] != algo:
        raise ValueError(
            f"{path} holds a policy of {note['algo']!r}; ask for sb3:{note['algo']}:{path}"
        )
    if note and note["features"] != list(FEATURE_NAMES):
        raise ValueError(f"{path} looks at other features than this version of hrm_rl shows")
    kwargs = note.get("policy_kwargs", {})
    policy = make_policy(kind, _inputs(state), kwargs)
    try:
        policy.load_state_dict(state)
    except RuntimeError:
        raise ValueError(
            f"{path} holds another network than an MlpPolicy of {algo} with "
            f"{kwargs or 'default settings'} on {_inputs(state)} features; Sb3Rule.save notes its settings"
        ) from None
    pooled = bool(note.get("pooled", _inputs(state) > len(FEATURE_NAMES)))
    return Sb3Rule(algo, policy, fitted_on, note.get("max_segments"), kwargs, pooled, path)


def make_policy(
    kind: type[BaseAlgorithm], inputs: int, policy_kwargs: dict[str, Any]
) -> BasePolicy:
    """An algorithm's untrained MlpPolicy for `HRM/Halting-v0`, in evaluation mode."""
    policy = kind.policy_aliases["MlpPolicy"](
        halting_observation_space(inputs), spaces.Discrete(2), lambda _: 0.0, **policy_kwargs
    )
    policy.set_training_mode(False)
    return policy


def _inputs(state: dict[str, Tensor]) -> int:
    """Features that a policy's first layer looks at."""
    return next(int(t.shape[1]) for t in state.values() if t.ndim == 2)
