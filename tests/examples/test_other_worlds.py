"""The examples in other people's environments run, and write the curves that they draw."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.parametrize("policy", ["hrm", "default"])
def test_minigrid(policy: str, load_example, tmp_path: Path, capsys) -> None:
    pytest.importorskip("minigrid")
    example = load_example("minigrid_ppo")
    args = example.Args(
        env="MiniGrid-Empty-5x5-v0",
        policy=policy,
        steps=32,
        n_envs=2,
        n_steps=8,
        batch_size=16,
        n_epochs=1,
        eval_every=16,
        eval_episodes=2,
        goal=2.0,  # more than there is
        out=tmp_path,
        plot=None,
    )
    example.main(args)
    assert "2.0 reached: not within 32 steps" in capsys.readouterr().out
    saved = np.load(tmp_path / args.env / f"{policy}-0" / "evaluations.npz")
    assert saved["timesteps"].tolist() == [16, 32] and saved["results"].shape == (2, 2)
    pytest.importorskip("matplotlib")
    example.plot(example.Args(out=tmp_path, plot=tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_popgym(load_example, tmp_path: Path) -> None:
    pytest.importorskip("popgym")
    pytest.importorskip("sb3_contrib")
    example = load_example("popgym_memory")
    sizes = {"steps": 204, "num_envs": 2, "batch_size": 102, "epochs": 1, "episodes": 2}
    for carry in ("keep", "reset"):
        example.main(example.Args(carry=carry, out=tmp_path, hidden_size=16, **sizes))
    runs = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert [run["carry"] for run in runs] == ["keep", "reset"]
    assert all([steps for steps, _ in run["curve"]] == [102, 204] for run in runs)
    assert all(-1 <= mean <= 1 for run in runs for _, mean in run["curve"])
    pytest.importorskip("matplotlib")
    example.plot(example.Args(out=tmp_path, plot=tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_rl_zoo3_reads_the_hyperparameters(load_example) -> None:
    """In the form that its `-conf` takes: a dict by environment, of what the algorithm takes, but for
    `n_timesteps` and `normalize`, which rl-zoo3 reads itself."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    import hrm_rl  # noqa: F401 (registers the environments)

    hyperparams = load_example("rl_zoo3_hyperparams").hyperparams
    assert set(hyperparams) == {"HRM/Halting-v0", "CartPole-v1"}
    for name, settings in hyperparams.items():
        settings = {key: value for key, value in settings.items() if key not in ("n_timesteps", "normalize")}
        settings |= {"learning_rate": 1e-3}  # "lin_..." is rl-zoo3's own word
        envs = make_vec_env(name, settings.pop("n_envs"))
        PPO(settings.pop("policy"), envs, device="cpu", **settings).learn(1)
