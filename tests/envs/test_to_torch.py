"""ToTorch: the same episodes as the NumPy environments it wraps, whole and on the device."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from hrm_rl.envs.plain import text_to_bytes
from hrm_rl.envs.thinking import ThinkingWrapper
from hrm_rl.envs.to_torch import ToTorch, map_tensors, to_actions, to_tensors

MODE: Any = AutoresetMode.SAME_STEP


def cartpoles(rows: int = 3, mode: Any = MODE) -> VectorEnv:
    return gym.make_vec(
        "CartPole-v1", num_envs=rows, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
    )


class Counting(gym.Env):
    """Counts its steps, in observations of every form; ends after 2, 3, ... of them by its seed."""

    observation_space = spaces.Dict(
        count=spaces.Discrete(10),
        pair=spaces.Tuple((spaces.Box(0, 9, (2,), np.float64), spaces.MultiBinary(3))),
        word=spaces.Text(6),
        wide=spaces.Box(0, 1000, (1,), np.uint16),
    )
    action_space = spaces.Dict(go=spaces.Discrete(2), by=spaces.Box(-1, 1, (2,), np.float32))

    def _see(self) -> dict[str, Any]:
        n = self.clock
        pair = (np.full(2, float(n)), np.array([n & 1, 1, 0], np.int8))
        return {"count": n, "pair": pair, "word": f"n{n}", "wide": np.array([100 * n], np.uint16)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.limit = self.limit if seed is None else 2 + seed
        self.clock = 0
        return self._see(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.clock += 1
        reward = float(action["go"]) + float(action["by"].sum())
        return self._see(), reward, False, self.clock == self.limit, {}


def test_lengths_count_steps_of_the_environment_not_thoughts() -> None:
    """Row 0 thinks before every step, row 1 never does."""
    make = [lambda: ThinkingWrapper(gym.make("CartPole-v1"))] * 2
    envs = ToTorch(SyncVectorEnv(make, autoreset_mode=MODE))
    envs.reset(seed=0)
    for step in range(1, 7):
        *_, info = envs.step(np.array([2 if step % 2 else 0, step % 2]))
        assert info["episode"]["l"].tolist() == [step // 2, step]


def test_episodes_are_those_of_the_environment_wrapped() -> None:
    plain = RecordEpisodeStatistics(cartpoles())
    envs = ToTorch(cartpoles())
    assert envs.metadata["autoreset_mode"] == MODE and envs.num_envs == 3
    expected, _ = plain.reset(seed=5)
    obs, _ = envs.reset(seed=5)
    ends = 0
    rng = np.random.default_rng(0)
    for _ in range(120):
        assert np.array_equal(obs.numpy(), expected)
        actions = rng.integers(0, 2, 3)
        expected, reward, terminated, truncated, plain_info = plain.step(actions)
        obs, *result, info = envs.step(torch.from_numpy(actions))
        for ours, theirs in zip(result, (reward, terminated, truncated), strict=True):
            assert np.array_equal(ours.numpy(), theirs)
        assert [t.dtype for t in result] == [torch.float32, torch.bool, torch.bool]
        ended = terminated | truncated
        assert np.array_equal(info["_final_obs"].numpy(), ended)
        assert np.array_equal(info["_episode"].numpy(), ended)
        assert info["final_obs"].shape == obs.shape and info["episode"]["r"].shape == (3,)
        for row in np.flatnonzero(ended):
            assert np.array_equal(info["final_obs"][row].numpy(), plain_info["final_obs"][row])
            for key in ("r", "l"):
                assert float(info["episode"][key][row]) == plain_info["episode"][key][row]
            assert info["episode"]["t"][row] > 0
            ends += 1
    assert ends > 5


# Through shared memory, Gymnasium 1.4 hands on strings of zeros.
VECTORS = [SyncVectorEnv, partial(AsyncVectorEnv, shared_memory=False)]


@pytest.mark.parametrize("vector", VECTORS, ids=["sync", "async"])
def test_observations_and_actions_of_every_form(vector: Any) -> None:
    envs = ToTorch(vector([Counting] * 3, autoreset_mode=MODE))
    obs, _ = envs.reset(seed=0)
    action = {"go": torch.tensor([0, 1, 1]), "by": torch.tensor([[0.5, 0.0]] * 3)}
    clock, limit = np.zeros(3, int), np.array([2, 3, 4])
    for _ in range(9):
        obs, reward, terminated, truncated, info = envs.step(action)
        assert reward.tolist() == [0.5, 1.5, 1.5] and not terminated.any()
        clock += 1
        cut = clock == limit
        assert np.array_equal(truncated.numpy(), cut)
        last = info["final_obs"]
        for row in range(3):
            if cut[row]:
                assert_counts(last, row, clock[row])
        clock[cut] = 0
        for row in range(3):
            assert_counts(obs, row, clock[row])
    envs.close()


def assert_counts(obs: Any, row: int, n: int) -> None:
    assert obs["count"][row] == n and obs["wide"][row].tolist() == [100 * n]
    assert obs["pair"][0][row].tolist() == [n, n] and obs["pair"][0].dtype == torch.float64
    assert obs["pair"][1][row].tolist() == [n & 1, 1, 0]
    word = text_to_bytes(f"n{n}", obs["word"].shape[1])
    assert np.array_equal(obs["word"][row].numpy(), word)


def test_what_was_returned_does_not_change_later() -> None:
    envs = ToTorch(cartpoles())
    obs, _ = envs.reset(seed=0)
    kept = obs.clone()
    later, reward, *_, info = envs.step(np.ones(3, int))
    totals = info["episode"]["r"].clone()
    envs.step(np.ones(3, int))
    assert torch.equal(obs, kept) and not torch.equal(obs, later)
    assert torch.equal(info["episode"]["r"], totals) and torch.equal(reward, torch.ones(3))


def test_final_observations_that_are_whole_already_are_taken() -> None:
    class Whole(gym.vector.VectorWrapper):
        def step(self, actions: Any) -> Any:
            obs, *others, info = self.env.step(actions)
            whole = np.array(obs)
            for row in np.flatnonzero(info.get("_final_obs", ())):
                whole[row] = info["final_obs"][row]
            return obs, *others, info | {"final_obs": whole}

    one, other = ToTorch(cartpoles()), ToTorch(Whole(cartpoles()))
    for envs in (one, other):
        envs.reset(seed=0)
    for _ in range(30):
        final = [envs.step(np.zeros(3, int))[-1]["final_obs"] for envs in (one, other)]
        assert torch.equal(*final)


def test_other_autoreset_is_refused_with_the_remedy() -> None:
    message = "SAME_STEP, got .*NEXT_STEP.*vector_kwargs=.*SAME_STEP"
    with pytest.raises(ValueError, match=message):
        ToTorch(gym.make_vec("CartPole-v1", num_envs=2))  # Gymnasium's own vector class
    with pytest.raises(ValueError, match="SAME_STEP"):
        ToTorch(cartpoles(mode=AutoresetMode.DISABLED))


def test_a_missing_final_observation_is_refused() -> None:
    class Forgetful(gym.vector.VectorWrapper):
        def step(self, actions: Any) -> Any:
            return *self.env.step(actions)[:-1], {}

    envs = ToTorch(Forgetful(cartpoles()))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"SAME_STEP but no info\['final_obs'\]"):
        for _ in range(30):
            envs.step(np.zeros(3, int))


DICT, TUPLE = spaces.Dict(a=spaces.Discrete(2)), spaces.Tuple((spaces.Discrete(2),))


@pytest.mark.parametrize(
    ("convert", "space", "value", "message"),
    [
        (to_tensors, DICT, {"b": np.zeros(2)}, r"a dict of \['a'\], got a dict of \['b'\]"),
        (to_tensors, TUPLE, (np.zeros(2), np.zeros(2)), "a tuple of 1 parts, got 2 parts"),
        (to_tensors, spaces.Text(2), "ab", "one string 'ab'"),
        (to_actions, DICT, np.zeros(2), r"action must be a dict of \['a'\], got ndarray"),
        (to_actions, DICT, {"a": 1, "b": 1}, r"a dict of \['a'\], got a dict of \['a', 'b'\]"),
        (to_actions, TUPLE, np.zeros(2), "action must be a tuple of 1 parts, got ndarray"),
        (to_actions, spaces.MultiDiscrete([2] * 3), torch.zeros(2), r"shape \(3,\), got \(2,\)"),
    ],
)
def test_misuse_is_refused(convert: Any, space: spaces.Space, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(space, value)


def test_a_reset_of_some_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="leave reset_mask out"):
        ToTorch(cartpoles()).reset(options={"reset_mask": np.ones(3, bool)})


def test_tensors_are_mapped_wherever_they_are() -> None:
    tree = {"a": torch.tensor(1), "b": (torch.tensor(2), {"c": torch.tensor(3)})}
    double = map_tensors(torch.add, tree, tree)
    assert double == {"a": torch.tensor(2), "b": (torch.tensor(4), {"c": torch.tensor(6)})}
