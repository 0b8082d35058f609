"""A policy of Stable-Baselines3 as a rule for stopping: `sb3:ALGO:FILE`.

FILE is the zip that SB3's `model.save` writes. `Sb3Rule.save` adds a note of what the policy was
trained on. Only weights are read from it, never SB3's pickled settings, so a file from elsewhere runs
no code; the network's shape comes from the note, and is SB3's default without one.
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from hrm_rl.agents.sb3.files import WEIGHTS, read_weights
from hrm_rl.envs.halting.bank import halting_observation_space
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.fitted import FittedRule
from hrm_rl.halting.fit.provenance import FittedOn
from hrm_rl.halting.vector import FEATURE_NAMES, feature_vector
from hrm_rl.messages import pip_install
from hrm_rl.settings import check_at_least, check_integers, restore
from hrm_rl.stored.archives import open_archive, read_entry
from hrm_rl.stored.npy import read_npy_stream
from hrm_rl.stored.text import parse_json

ALGORITHMS = {
    "dqn": ("stable_baselines3", "DQN"),
    "ppo": ("stable_baselines3", "PPO"),
    "a2c": ("stable_baselines3", "A2C"),
    "qrdqn": ("sb3_contrib", "QRDQN"),
}
"""Name in a spec -> where the algorithm is."""

_NOTE, _IDS = "hrm_rl.json", "hrm_rl_puzzle_ids.npy"
_NOTED = ("algo", "policy_kwargs", "pooled", "max_segments")
_NOTED_OF_FITTING = ("model_hash", "split", "cost")


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
        raise ValueError(f"algorithm {name!r} needs sb3-contrib: {pip_install('sb3')}") from None


@dataclass(frozen=True)
class _Note:
    """What `Sb3Rule.save` notes in a zip."""

    format: int
    algo: str
    features: tuple[str, ...]
    policy_kwargs: Mapping[str, Any]
    pooled: bool
    max_segments: int | None
    model_hash: str = ""
    split: str = ""
    cost: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "cost")
        if self.max_segments is not None:
            check_integers(self, 1, "max_segments")


@dataclass(frozen=True, eq=False)
class Sb3Rule(FittedRule):
    """Stop when a Stable-Baselines3 policy chooses to halt, without exploring.

    `fitted_on` is None for policies that were not trained by `train_sb3`: then nothing
    checks that they are evaluated on other puzzles than those they were trained on.
    """

    name = "sb3"
    suffix = ".zip"
    variants = frozenset((algo,) for algo in ALGORITHMS)
    algo: str
    policy: BasePolicy
    fitted_on: FittedOn | None = None
    max_segments: int | None = None
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    pooled: bool = False  # type: ignore[assignment]
    path: str | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.algo}:{self.path}" if self.path else f"{self.name}:{self.algo}"

    @torch.no_grad()
    def __call__(self, features: SegmentFeatures) -> Tensor:
        seen = feature_vector(features, pooled=self.pooled)
        halt = self.policy.to(seen.device)._predict(seen, deterministic=True) == 1
        if self.max_segments is not None:
            halt = halt | (features.segment >= self.max_segments)
        return halt

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> "Sb3Rule":
        # The learner makes rules of this class, so it is imported late and by name.
        learners = import_module("hrm_rl.agents.pqn.halting_learners")
        return learners.train_sb3(bank, cost, seed, *words)

    @staticmethod
    def _is_own(path: Path) -> bool:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return {_NOTE, WEIGHTS} <= set(archive.namelist())

    def _write(self, path: Path) -> None:
        note: dict[str, Any] = {"format": 1, "features": list(FEATURE_NAMES)}
        note |= {name: getattr(self, name) for name in _NOTED}
        weights = {key: value.cpu() for key, value in self.policy.state_dict().items()}
        with zipfile.ZipFile(path, "w") as archive:
            with archive.open(WEIGHTS, "w") as file:
                torch.save(weights, file)
            if self.fitted_on is not None:
                note |= {name: getattr(self.fitted_on, name) for name in _NOTED_OF_FITTING}
                with archive.open(_IDS, "w") as file:
                    np.save(file, self.fitted_on.puzzle_ids)
            archive.writestr(_NOTE, json.dumps(note))

    @classmethod
    def load(cls, path: str | os.PathLike[str], algo: str = "dqn") -> "Sb3Rule":
        """The rule of a zip written by `save`, or by SB3's own `model.save`.

        Raises ValueError for an unknown algorithm, or a file that holds no such policy.
        """
        path = os.fspath(path)
        kind = algorithm(algo)
        state = read_weights(path)
        note, fitted_on = _read_note(path)
        if note and note.algo != algo:
            raise ValueError(f"{path} holds a policy of {note.algo!r}; its spec is sb3:{note.algo}:{path}")
        if note and note.features != FEATURE_NAMES:
            raise ValueError(f"{path} was fitted on other features than this version of hrm_rl computes")
        # The first layer's width.
        inputs = next((int(t.shape[1]) for t in state.values() if t.ndim == 2), 0)
        if inputs < 1:
            raise ValueError(f"{path} is not the file of an SB3 policy (it has no layer)")
        seen = halting_observation_space(inputs)
        kwargs: Any = dict(note.policy_kwargs) if note else {}
        make_policy = kind.policy_aliases["MlpPolicy"]
        try:
            _check_widths(kwargs, state)
            policy = make_policy(seen, spaces.Discrete(2), lambda _: 0.0, **kwargs)
        except Exception as error:  # of many kinds
            raise ValueError(f"{path}: no policy has its {_NOTE}'s policy_kwargs ({error})") from None
        policy.set_training_mode(False)
        try:
            policy.load_state_dict(state)
        except RuntimeError:
            raise ValueError(
                f"{path} holds another network than an MlpPolicy of {algo} with "
                f"{kwargs or 'default settings'} on {inputs} features; Sb3Rule.save stores them"
            ) from None
        pooled = note.pooled if note else inputs > len(FEATURE_NAMES)
        return cls(algo, policy, fitted_on, note.max_segments if note else None, kwargs, pooled, path)


def _check_widths(kwargs: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the settings name a width that no tensor has, before a network takes its memory."""
    arch = kwargs.get("net_arch", ())
    parts = arch.values() if isinstance(arch, Mapping) else (arch,)
    widths = [width for part in parts for width in part]
    if len(widths) > len(state):
        raise ValueError(f"net_arch has {len(widths)} layers, and there are {len(state)} tensors")
    sizes = {int(size) for tensor in state.values() for size in tensor.shape}
    others = [value for value in kwargs.values() if isinstance(value, int)]
    for width in (*widths, *others):
        if width not in sizes and (width in widths or width > max(sizes)):
            raise ValueError(f"no tensor has the width {width!r}")


def load_rule(algo: str, path: str | os.PathLike[str]) -> Sb3Rule:
    """`Sb3Rule.load(path, algo)`."""
    return Sb3Rule.load(path, algo)


def _read_note(path: str) -> tuple[_Note | None, FittedOn | None]:
    """Read the note of `Sb3Rule.save` from a zip; None if SB3 wrote it."""
    note = fitted_on = None
    try:
        with open_archive(path) as archive:
            if _NOTE in archive.namelist():
                note = restore(_Note, parse_json(read_entry(archive, _NOTE)), _NOTE)
            if note is not None and _IDS in archive.namelist():
                ids = read_npy_stream(io.BytesIO(read_entry(archive, _IDS)))
                fitted_on = FittedOn(note.model_hash, ids, note.split, note.cost)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not the file of an SB3 policy ({error})") from None
    return note, fitted_on
