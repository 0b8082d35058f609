"""Registers the environments with Gymnasium by string entry points, so that nothing heavy loads.

The ids have no `max_episode_steps`: at `halt_max_steps` the draft is judged, which is a termination.
Truncation comes from wrappers alone.
"""

from typing import Any

import gymnasium as gym

from hrm_rl.puzzles import FAMILIES

# Modules with the entry points `make_env` and `make_vector_env`.
_MODULES = {"HRM/Arc-v0": "hrm_rl.envs.families.arc", "HRM/Halting-v0": "hrm_rl.envs.halting"}

# Environments without puzzles; Gymnasium makes vectors of them.
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
            env_id, entry_point=f"{module}:make_env", vector_entry_point=f"{module}:make_vector_env", **more
        )
