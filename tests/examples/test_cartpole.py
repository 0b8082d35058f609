"""The two CartPole examples run, draw their curves, and keep a network that loads again."""

from typing import Any

import numpy as np
import pytest

from hrm_rl.agents.pqn.hrm_pqn import evaluate
from hrm_rl.agents.pqn.q_network import HRMQNetwork


@pytest.mark.parametrize(
    "name", ["cartpole_ppo", "cartpole_pqn", "think_before_you_walk", "memory_recurrent_ppo"]
)
def test_examples_are_short(name: str, examples: Any) -> None:
    assert len((examples / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 150


def test_ppo_runs_for_several_seeds_and_draws(load_example, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    example, figure = load_example("cartpole_ppo"), tmp_path / "curve.png"
    short = {"total_steps": 1024, "hidden_size": 16, "n_epochs": 1, "evaluation_episodes": 2}
    first, second = example.main(example.Args(seeds=(1, 2), figure=str(figure), **short))
    assert (first["seed"], second["seed"]) == (1, 2) and first["steps"] == 1024
    assert first["mean_return"] >= first["min_return"] >= 1
    assert capsys.readouterr().out.count('"mean_return"') == 2
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_pqn_runs_and_keeps_what_it_learned(load_example, tmp_path, capsys) -> None:
    example = load_example("cartpole_pqn")
    args = example.Args(steps=512, num_envs=4, episodes=4, save=str(tmp_path / "kept"))
    (result,) = example.main(args).values()
    assert "seed 0: return" in capsys.readouterr().out
    envs = example.make_envs(20)
    network = HRMQNetwork.load(tmp_path / "kept", envs.single_observation_space)
    again = evaluate(network, envs, 4, seed=10_000)
    assert again.returns.tolist() == result.returns.tolist()
    pytest.importorskip("matplotlib")
    curve = np.array([[100.0, float("nan"), 1.0], [200.0, 9.0, 1.5]])
    example.draw({0: curve}, str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").stat().st_size > 1000
