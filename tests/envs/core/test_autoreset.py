"""What happens to rows whose episode ended, in each autoreset mode; finals, masks and keys."""

from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PuzzleVectorEnv

MODES = ("SameStep", "NextStep", "Disabled")
ROWS = 6


def tree(info: dict[str, Any]) -> Any:
    return {k: tree(v) if isinstance(v, dict) else tuple(v.shape) for k, v in info.items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def answers(value: int, halt: list[int] | None = None) -> dict[str, torch.Tensor]:
    return {
        "answer": torch.full((ROWS, 16), value),
        "halt": torch.tensor(halt or [0] * ROWS),
    }


@pytest.mark.parametrize("mode", MODES)
def test_info_has_the_same_keys_and_shapes_every_step(mode: str, source: Any, play: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source, halt_max_steps=3, autoreset_mode=mode)
    obs, info = envs.reset(seed=0)
    shapes, rng = [], np.random.default_rng(0)
    for halting in (0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.3):  # steps that end nobody, some and all
        obs, _, _, _, info = envs.step(play(rng, info["labels"], halting))
        shapes.append((tree(obs), tree(info)))
    assert all(shape == shapes[0] for shape in shapes)
    for infos in (info, info["final_info"]):
        plain = {key for key in infos if not key.startswith("_")}
        assert {f"_{key}" for key in plain} == infos.keys() - plain


@pytest.mark.parametrize("mode", MODES)
def test_finals_and_episode_tell_what_ended(mode: str, source: Any, play: Any) -> None:
    """Against counts kept by hand, from what went in."""
    envs = PuzzleVectorEnv(ROWS, source, halt_max_steps=4, segment_cost=0.0625, autoreset_mode=mode)
    obs, info = envs.reset(seed=3)
    length, returned = torch.zeros(ROWS, dtype=torch.int64), torch.zeros(ROWS)
    ended_before, rng, ends = torch.zeros(ROWS, dtype=torch.bool), np.random.default_rng(2), 0
    for _ in range(25):
        before_obs, before = obs, info
        action = play(rng, info["labels"])
        obs, reward, terminated, _, info = envs.step(action)
        running = ~ended_before
        length += running
        returned += reward
        over = running & (action["halt"] | (length >= 4))
        assert torch.equal(terminated & running, over)
        for key in ("_episode", "_final_obs", "_final_info"):
            assert torch.equal(info[key], over)
        assert all(torch.equal(v, over) for k, v in info["final_info"].items() if k[0] == "_")
        episode, final = info["episode"], info["final_info"]
        assert torch.equal(episode["l"][over], length[over])
        assert torch.equal(episode["r"][over], returned[over])
        assert (episode["t"] >= 0).all() and (episode["t"] < 60).all()
        assert torch.equal(info["final_obs"]["draft"][over], action["answer"][over].int())
        assert torch.equal(info["final_obs"]["segment"][over], length[over])
        assert torch.equal(info["final_obs"]["inputs"][over], before_obs["inputs"][over])
        for key in ("labels", "puzzle_key", "rating"):
            assert torch.equal(final[key][over], before[key][over])
        for key in ("correct", "valid", "cell_accuracy", "segments", "forced"):
            assert torch.equal(final[key][over], info[key][over])
        assert torch.equal(final["segments"][over], length[over])
        # Which rows start afresh with the next step.
        fresh = {"SameStep": over, "NextStep": ended_before, "Disabled": ended_before & False}[mode]
        assert torch.equal(obs["segment"] == 0, fresh)
        if mode == "Disabled":
            ended_before = ended_before | over
            if ended_before.all():
                obs, info = envs.reset()
                ended_before, fresh = ended_before & False, ~fresh
        elif mode == "NextStep":
            ended_before = over
        length[fresh], returned[fresh] = 0, 0.0
        ends += int(over.sum())
    assert ends > 15


def test_same_step_gives_the_new_puzzle_at_once(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    old, old_info = envs.reset(seed=0)
    obs, _, terminated, _, info = envs.step(answers(3, [1, 0, 1, 0, 0, 0]))
    where = torch.tensor([1, 0, 1, 0, 0, 0]).bool()
    assert torch.equal(terminated, where)
    assert torch.equal(obs["draft"][where], obs["inputs"][where])
    assert (obs["segment"] == (~where).long()).all()
    assert (info["puzzle_key"] != old_info["puzzle_key"]).equal(where)
    assert torch.equal(obs["inputs"][~where], old["inputs"][~where])
    assert (obs["draft"][~where] == 3).all()


def test_next_step_ignores_the_action_after_the_end(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source, segment_cost=0.5, autoreset_mode="NextStep")
    _, old = envs.reset(seed=0)
    first = torch.tensor([1, 0, 1, 0, 0, 0]).bool()
    obs, reward, terminated, _, info = envs.step(
        {"answer": old["labels"], "halt": first}
    )  # right, on all rows
    assert torch.equal(reward, torch.where(first, 0.5, -0.5))
    assert torch.equal(obs["draft"], old["labels"]) and torch.equal(terminated, first)
    assert torch.equal(info["puzzle_key"], old["puzzle_key"])
    obs, reward, terminated, _, info = envs.step(answers(4, [1] * ROWS))
    assert torch.equal(reward, torch.where(first, 0.0, -0.5))
    assert torch.equal(terminated, ~first)
    assert torch.equal(obs["draft"][first], obs["inputs"][first])
    assert (info["puzzle_key"] != old["puzzle_key"]).equal(first)
    assert torch.equal(info["_episode"], ~first)


def test_disabled_freezes_ended_rows(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source, segment_cost=0.5, autoreset_mode="Disabled")
    old, _ = envs.reset(seed=0)
    frozen = torch.tensor([1, 0, 1, 0, 0, 0]).bool()
    envs.step(answers(3, frozen.int().tolist()))
    for value in (4, 5):
        obs, reward, terminated, truncated, info = envs.step(answers(value))
        assert torch.equal(reward, torch.where(frozen, 0.0, -0.5))
        assert torch.equal(terminated, frozen) and not truncated.any()
        assert (obs["draft"] == torch.where(frozen, 3, value)[:, None]).all()
        assert torch.equal(obs["inputs"], old["inputs"])
        assert not info["_episode"].any() and not info["forced"].any()
    assert obs["segment"].tolist() == [1, 3, 1, 3, 3, 3]
    assert torch.equal(info["episode"]["r"], torch.where(frozen, -0.5, -1.5))


@pytest.mark.parametrize("as_numpy", [False, True])
def test_reset_mask_resets_those_rows_only(source: Any, as_numpy: bool) -> None:
    envs = PuzzleVectorEnv(ROWS, source, autoreset_mode="Disabled")
    _, first = envs.reset(seed=0)
    before, _, _, _, info = envs.step(answers(3, [1, 1, 1, 0, 0, 0]))
    mask = torch.tensor([1, 0, 1, 0, 0, 1]).bool()
    obs, info = envs.reset(options={"reset_mask": mask.numpy() if as_numpy else mask})
    assert torch.equal(obs["draft"][mask], obs["inputs"][mask])
    assert (obs["segment"][mask] == 0).all()
    for key, value in obs.items():
        assert torch.equal(value[~mask], before[key][~mask])
    assert (info["puzzle_key"] != first["puzzle_key"]).equal(mask)
    obs, _, terminated, _, _ = envs.step(answers(4))
    assert terminated.tolist() == [False, True, False, False, False, False]
    assert obs["segment"].tolist() == [1, 1, 1, 2, 2, 1]


def test_rows_reset_by_mask_take_their_next_puzzles(source: Any) -> None:
    """Who is reset when does not change which puzzles a row sees."""
    masked = PuzzleVectorEnv(2, source, autoreset_mode="Disabled")
    whole = PuzzleVectorEnv(2, source, autoreset_mode="Disabled")
    masked.reset(seed=4), whole.reset(seed=4)
    second = whole.reset()[1]["puzzle_key"]
    third = whole.reset()[1]["puzzle_key"]
    masked.reset(options={"reset_mask": torch.tensor([True, False])})
    _, info = masked.reset(options={"reset_mask": torch.tensor([True, False])})
    assert info["puzzle_key"][0] == third[0]
    _, info = masked.reset(options={"reset_mask": torch.tensor([False, True])})
    assert info["puzzle_key"].tolist() == [third[0], second[1]]


@pytest.mark.parametrize("mask", [torch.ones(ROWS), torch.ones(ROWS + 1).bool()])
def test_a_bad_reset_mask_is_refused(source: Any, mask: torch.Tensor) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=rf"reset_mask .*must be bool of shape \({ROWS},\)"):
        envs.reset(options={"reset_mask": mask})


def test_the_first_reset_takes_no_mask(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    with pytest.raises(RuntimeError, match="first reset"):
        envs.reset(options={"reset_mask": torch.ones(ROWS).bool()})


def test_step_and_current_need_a_reset_first(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    with pytest.raises(RuntimeError, match="reset"):
        envs.step(answers(2))
    with pytest.raises(RuntimeError, match="reset"):
        envs.current()


def test_current_repeats_the_last_observation(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    obs, info = envs.reset(seed=0)
    assert same(envs.current()[0], obs) and same(envs.current()[1], info)
    obs, _, _, _, info = envs.step(answers(3, [1, 0, 0, 0, 0, 1]))
    assert same(envs.current()[0], obs)
    assert all(torch.equal(value, info[key]) for key, value in envs.current()[1].items())
