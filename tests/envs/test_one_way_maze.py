"""The maze of one-way passages: what its plan says, and what walking it pays."""

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.envs.one_way_maze import OneWayMaze, leads_out


def solve(plan: Any) -> tuple[int, int]:
    """The right door, and how many look-ups the exit is behind it, from the plan alone."""
    leads_to, mark = plan[:, 0, 0], plan[:, 0, 1]
    (exit_room,) = np.flatnonzero(mark >= 3)
    found = []
    for door in (0, 1):
        (room,) = np.flatnonzero(mark % 3 == door + 1)
        hops = 0
        while leads_to[room] != room:
            room, hops = leads_to[room], hops + 1
        if room == exit_room:
            found.append((door, hops))
    (answer,) = found
    return answer


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_following_the_passages_leads_out(depth: int, seed: int) -> None:
    env = OneWayMaze(depth)
    plan, info = env.reset(seed=seed)
    ahead = solve(plan)[1]
    assert 0 <= ahead < depth
    for left in range(ahead, -1, -1):
        assert env.observation_space.contains(plan)
        door, hops = solve(plan)
        assert hops == left == info["look_ups"]
        plan, reward, terminated, truncated, info = env.step(door)
        assert reward == 1
        assert terminated == (left == 0)
        assert not truncated
    assert info == {"is_success": True}


def test_a_wrong_door_ends_it() -> None:
    env = OneWayMaze(3)
    plan, _ = env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(1 - solve(plan)[0])
    assert (reward, terminated, truncated) == (0, True, False)
    assert info == {"is_success": False}


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_labels_mark_which_rooms_lead_out(depth: int) -> None:
    """Room by room, against a walk; one plan or a batch; half of the rooms do."""
    env = OneWayMaze(depth)
    env.reset(seed=0)
    plans = np.stack([env.reset()[0] for _ in range(20)])
    labels = leads_out(plans)
    assert labels.shape == (20, 2 * depth) and labels.dtype == bool
    assert (labels.sum(1) == depth).all()
    for plan, label in zip(plans, labels, strict=True):
        assert np.array_equal(leads_out(plan), label)
        leads_to, mark = plan[:, 0, 0], plan[:, 0, 1]
        for room, out in enumerate(label):
            while leads_to[room] != room:
                room = leads_to[room]
            assert out == (mark[room] >= 3)


def test_doors_and_distances_are_drawn_evenly() -> None:
    env = OneWayMaze(3)
    env.reset(seed=0)
    answers = [solve(env.reset()[0]) for _ in range(1200)]
    counts = np.bincount([3 * door + hops for door, hops in answers], minlength=6)
    assert np.all(abs(counts / 1200 - 1 / 6) < 0.04)


def test_gymnasium_accepts_it() -> None:
    check_env(OneWayMaze(), skip_render_check=True)


@pytest.mark.parametrize("depth", [0, 101, 2.0, True])
def test_other_depths_are_refused(depth: Any) -> None:
    with pytest.raises(ValueError, match="depth must be"):
        OneWayMaze(depth)


def test_other_doors_are_refused() -> None:
    env = OneWayMaze()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be an integer from 0 to 1, got 2"):
        env.step(2)
