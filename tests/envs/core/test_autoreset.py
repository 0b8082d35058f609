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
    return {"answer": torch.full((ROWS, 16), value), "halt": torch.tensor(halt or [0] * ROWS)}


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
def test_every_step_against_counts_kept_by_hand(mode: str, source: Any, play: Any) -> None:
    """Ended rows: a new puzzle at once; one at the next step, whose action is ignored; or frozen."""
    envs = PuzzleVectorEnv(ROWS, source, halt_max_steps=4, segment_cost=0.0625, autoreset_mode=mode)
    obs, info = envs.reset(seed=3)
    length, returned = torch.zeros(ROWS, dtype=torch.int64), torch.zeros(ROWS)
    waiting, rng, ends = torch.zeros(ROWS, dtype=torch.bool), np.random.default_rng(2), 0
    for _ in range(25):
        before_obs, before = obs, info
        action = play(rng, info["labels"])
        obs, reward, terminated, truncated, info = envs.step(action)
        length += ~waiting
        over = ~waiting & (action["halt"] | (length >= 4))
        right = (action["answer"] == before["labels"]).all(-1)
        assert torch.equal(reward, torch.where(waiting, 0.0, (over & right).float() - 0.0625))
        returned += reward
        assert torch.equal(terminated, over | waiting if mode == "Disabled" else over)
        assert torch.equal(info["forced"], over & ~action["halt"]) and not truncated.any()
        for key in ("_episode", "_final_obs", "_final_info"):
            assert torch.equal(info[key], over)
        final = info["final_info"]
        assert all(torch.equal(v, over) for k, v in final.items() if k[0] == "_")
        episode = info["episode"]
        assert torch.equal(episode["l"][over], length[over])
        assert torch.equal(episode["r"][over], returned[over])
        assert (episode["t"] >= 0).all() and (episode["t"] < 60).all()
        draft = torch.where(waiting[:, None], before_obs["draft"], action["answer"].int())
        assert torch.equal(info["final_obs"]["draft"], draft)
        assert torch.equal(info["final_obs"]["segment"], length)
        assert torch.equal(info["final_obs"]["inputs"], before_obs["inputs"])
        for key in ("labels", "puzzle_key", "rating"):
            assert torch.equal(final[key], before[key])
        for key in ("correct", "valid", "cell_accuracy", "segments", "forced"):
            assert torch.equal(final[key], info[key])
        assert torch.equal(final["segments"], length)
        # Which rows have a new puzzle now, and which one waits for it.
        fresh = {"SameStep": over, "NextStep": waiting, "Disabled": over & False}[mode]
        waiting = {"SameStep": over & False, "NextStep": over, "Disabled": over | waiting}[mode]
        assert (info["puzzle_key"] != before["puzzle_key"]).equal(fresh)
        assert torch.equal(obs["draft"], torch.where(fresh[:, None], obs["inputs"], draft))
        assert torch.equal(obs["segment"], torch.where(fresh, 0, length))
        assert torch.equal(obs["inputs"][~fresh], before_obs["inputs"][~fresh])
        if waiting.all() and mode == "Disabled":
            obs, info = envs.reset()
            waiting, fresh = ~fresh & False, ~fresh
        length, returned = torch.where(fresh, 0, length), torch.where(fresh, 0.0, returned)
        ends += int(over.sum())
    assert ends > 15


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


def test_before_the_first_reset_nothing_else_works(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    for use in (
        lambda: envs.step(answers(2)),
        envs.current,
        envs.state_dict,
        lambda: envs.take_rows(torch.arange(1)),
        lambda: envs.reset(options={"reset_mask": torch.ones(ROWS).bool()}),
    ):
        with pytest.raises(RuntimeError, match="reset"):
            use()


def test_current_repeats_the_last_observation(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    obs, info = envs.reset(seed=0)
    assert same(envs.current()[0], obs) and same(envs.current()[1], info)
    obs, _, _, _, info = envs.step(answers(3, [1, 0, 0, 0, 0, 1]))
    assert same(envs.current()[0], obs)
    assert all(torch.equal(value, info[key]) for key, value in envs.current()[1].items())
