"""Registers the environments with Gymnasium, by string entry points so that nothing heavy loads.

The ids take no `max_episode_steps`: an episode's limit is the environment's own `halt_max_steps`,
at which the draft is judged (a termination). Truncation only ever comes from outside.
"""

from typing import Any

import gymnasium as gym

from hrm_rl.puzzles import FAMILIES

# Environments with entry points of their own in a module.
_MODULES = {
    "HRM/Arc-v0": "hrm_rl.envs.families.arc",
    "HRM/Halting-v0": "hrm_rl.envs.halting",
}

# Ordinary environments, not of puzzles: Gymnasium makes vectors of them by itself.
_ORDINARY = {
    "HRM/CueRecall-v0": "hrm_rl.envs.cue_recall:CueRecallEnv",
    "HRM/OneWayMaze-v0": "hrm_rl.envs.one_way_maze:OneWayMaze",
}


def register_environments() -> None:
    """Register every id once; importing the package twice changes nothing."""
    for name, path in FAMILIES.items():
        env_id = f"HRM/{path.rpartition(':')[2]}-v0"
        _register(env_id, "hrm_rl.envs.families.make", kwargs={"family": name})
    for env_id, module in _MODULES.items():
        _register(env_id, module)
    for env_id, entry_point in _ORDINARY.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=entry_point)


def _register(env_id: str, module: str, **more: Any) -> None:
    if env_id not in gym.registry:
        gym.register(
            env_id,
            entry_point=f"{module}:make_env",
            vector_entry_point=f"{module}:make_vector_env",
            **more,
        )
