"""Registers the environments with Gymnasium, by string entry points so that nothing heavy loads.

The ids take no `max_episode_steps`: an episode's limit is the environment's own `halt_max_steps`,
at which the draft is judged (a termination). Truncation only ever comes from outside.
"""

import gymnasium as gym

_FAMILIES = {
    "HRM/Sudoku-v0": "hrm_rl.envs.families.sudoku",
    "HRM/Maze-v0": "hrm_rl.envs.families.maze",
    "HRM/Arc-v0": "hrm_rl.envs.families.arc",
    "HRM/PrefixParity-v0": "hrm_rl.envs.families.prefix_parity",
    "HRM/PointerChase-v0": "hrm_rl.envs.families.pointer_chase",
    "HRM/Life-v0": "hrm_rl.envs.families.life",
    "HRM/LightsOut-v0": "hrm_rl.envs.families.lights_out",
    "HRM/UniqueSAT-v0": "hrm_rl.envs.families.unique_sat",
    "HRM/Halting-v0": "hrm_rl.envs.halting",
}

# Ordinary environments, not of puzzles: Gymnasium makes vectors of them by itself.
_ORDINARY = {
    "HRM/CueRecall-v0": "hrm_rl.envs.cue_recall:CueRecallEnv",
    "HRM/OneWayMaze-v0": "hrm_rl.envs.one_way_maze:OneWayMaze",
}


def register_environments() -> None:
    """Register every id once; importing the package twice changes nothing."""
    for env_id, module in _FAMILIES.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"{module}:make_env",
                vector_entry_point=f"{module}:make_vector_env",
            )
    for env_id, entry_point in _ORDINARY.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=entry_point)
