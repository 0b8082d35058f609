"""`import hrm_rl` registers the environments: ids, specs, and the ways Gymnasium makes them."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import hrm_rl
from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv

ID = "HRM/Sudoku-v0"
SMALL = {"size": 4, "pool_size": 20}


@pytest.mark.parametrize("name", [ID, f"hrm_rl:{ID}"])
def test_names_make_the_single_and_the_vector_environment(name: str) -> None:
    env = gym.make(name, **SMALL)
    assert isinstance(env.unwrapped, PuzzleEnv)
    assert env.reset(seed=0)[0]["inputs"].shape == (16,)
    envs = gym.make_vec(name, num_envs=8, **SMALL, device="cpu")
    assert isinstance(envs, PuzzleVectorEnv) and envs.num_envs == 8
    assert isinstance(envs.reset(seed=0)[0]["inputs"], torch.Tensor)


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({"halt_max_steps": 3}, [(False, False), (False, False), (True, False)]),
        ({"max_episode_steps": 2}, [(False, False), (False, True)]),
    ],
)
def test_only_limits_from_outside_truncate(limits: dict, ends: list) -> None:
    assert gym.spec(ID).max_episode_steps is None
    env = gym.make(ID, **SMALL, **limits)
    env.reset(seed=0)
    think_on = {"answer": np.full(16, 2), "halt": 0}
    assert [env.step(think_on)[2:4] for _ in ends] == ends


def test_registering_twice_changes_nothing() -> None:
    before = gym.registry[ID]
    gym.register_envs(hrm_rl)
    hrm_rl.register_environments()
    assert gym.registry[ID] is before


@pytest.mark.parametrize("mode", ["SAME_STEP", "SameStep", gym.vector.AutoresetMode.SAME_STEP])
def test_an_autoreset_mode_goes_by_its_name_too(mode) -> None:
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=2, size=4, pool_size=20, autoreset_mode=mode)
    assert envs.unwrapped.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP


MAZE = {"id": "HRM/Maze-v0", "size": 5, "pool_size": 5}
REFUSED = [
    ({"id": ID, "sise": 4}, "unknown option 'sise'; did you mean 'size'"),
    ({**MAZE, "halt_max_step": 4}, "did you mean 'halt_max_steps'"),
    ({**MAZE, "spilt": "test"}, "did you mean 'split'"),
    ({**MAZE, "picture": None}, "unknown option 'picture'"),
    ({**MAZE, "xyz": 1}, "unknown option 'xyz'; the options are size, .*split.*halt_max_steps"),
    ({**MAZE, "render_mode": "human"}, "render_mode must be one of .*'rgb_array'.*got 'human'"),
    ({"id": "HRM/Halting-v0", "segment_cots": 1}, "did you mean 'segment_cost'"),
    ({"id": "HRM/Halting-v0", "render_mode": "rgb_array"}, "render_mode .* nothing to draw"),
    ({"id": "HRM/Halting-v0", "spilt": "test"}, "did you mean 'split'"),
    ({"id": "HRM/Arc-v0", "augmentation": 1}, "did you mean 'augmentations'"),
    ({"id": "HRM/CueRecall-v0", "lenght": 3}, "lenght"),
    ({**MAZE, "halt_max_steps": "3"}, "halt_max_steps must be an integer, got '3'"),
    ({**MAZE, "halt_max_steps": 2.5}, "halt_max_steps must be an integer, got 2.5"),
    ({**MAZE, "segment_cost": "a"}, "segment_cost must be a number, got 'a'"),
    ({**MAZE, "segment_cost": None}, "segment_cost must be a number, got None"),
    ({**MAZE, "checker": "vaild"}, "checker must be one of exact, valid; got 'vaild'"),
    ({**MAZE, "pool_size": 0}, "needs at least one puzzle, got none"),
    ({**MAZE, "pool_size": "9"}, "pool_size.*'9'"),
    ({**MAZE, "pool_seed": "x"}, "pool_seed.*'x'"),
    ({**MAZE, "pool_seed": -1}, "seed.*-1"),
    ({**MAZE, "augment": "no"}, "augment.*'no'"),
    ({**MAZE, "split": "tset"}, "split.*'tset'"),
    ({**MAZE, "size": "5"}, "size.*'5'"),
    ({**MAZE, "flat_action": "yes"}, "flat_action.*'yes'"),
]
ONE_BATCH = [
    ({**MAZE, "max_episode_steps": 3}, "max_episode_steps truncates.*halt_max_steps.*'sync'"),
    ({**MAZE, "num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
    ({**MAZE, "num_envs": 2.0}, "num_envs must be an integer >= 1, got 2.0"),
    ({**MAZE, "order": "random"}, "order must be 'hash' or 'epoch', got 'random'"),
    ({**MAZE, "autoreset_mode": "SAME"}, "autoreset_mode must be one of .*SAME_STEP.*got 'SAME'"),
    ({**MAZE, "device": "gpu"}, "device.*'gpu'"),
]
SINGLES = [
    ({**MAZE, "device": "cpu"}, "device is an option of gym.make_vec without a vectorization_mode"),
    ({**MAZE, "autoreset_mode": "SAME_STEP"}, "autoreset_mode .*vector_kwargs"),
    ({"id": "HRM/Halting-v0", "autoreset_mode": "SAME_STEP"}, "autoreset_mode .*vector_kwargs"),
]


@pytest.mark.parametrize(("options", "message"), [*REFUSED, *SINGLES])
def test_a_mistake_in_a_single_environment_is_named(options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        gym.make(**options)


@pytest.mark.parametrize(("options", "message"), [*REFUSED, *ONE_BATCH])
def test_a_mistake_in_a_vector_environment_is_named(options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        gym.make_vec(**{"num_envs": 2, **options})


@pytest.mark.parametrize("options", [MAZE, {"id": ID, **SMALL}])
def test_vectors_draw_every_row_as_singles_do(options: dict) -> None:
    for mode in ("ansi", "rgb_array"):
        envs = gym.make_vec(**options, num_envs=3, render_mode=mode, halt_max_steps=4)
        singles = [gym.make(**options, render_mode=mode, halt_max_steps=4) for _ in range(3)]
        assert envs.render() is None and envs.metadata["render_modes"] == ["ansi", "rgb_array"]
        obs, _ = envs.reset(seed=5)
        for row, env in enumerate(singles):
            env.reset(seed=5 + row)
            env.unwrapped.show_q(row, -row)
            env.step({"answer": obs["inputs"][row].numpy(), "halt": 0})
        envs.show_q(np.arange(3), -torch.arange(3))
        envs.step({"answer": obs["inputs"], "halt": np.zeros(3, int)})
        frames = envs.render()
        assert isinstance(frames, tuple)
        np.testing.assert_array_equal(frames, [env.render() for env in singles])
        envs.reset(seed=5)
        np.testing.assert_array_equal(envs.render()[0], singles[0].reset(seed=5) and singles[0].render())
