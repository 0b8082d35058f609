"""The examples run, and the one-file learner does what the package's does."""

import ast
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hrm_rl.agents import Learner
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.training.config import read_config, resolve
from hrm_rl.training.presets import find_preset

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "halting_q_learning.py"


@pytest.fixture(scope="module")
def example(load_example) -> ModuleType:
    return load_example("halting_q_learning")


def small(example: ModuleType, **changes):
    settings = {"steps": 3, "num_envs": 8, "hidden_size": 32, "train_puzzles": 40}
    settings |= {"test_puzzles": 16, "halt_max_steps": 3, "exploration": 0.5, "warmup_steps": 1}
    return example.Args(**(settings | changes))


def test_example_runs_and_logs(example, tmp_path, capsys) -> None:
    result = example.train(small(example, tensorboard=str(tmp_path)))
    assert 0 <= result["exact_accuracy"] <= 1 and 1 <= result["segments"] <= 3
    assert "step     3" in capsys.readouterr().out
    assert any(tmp_path.iterdir())


def test_losses_fall(example) -> None:
    first = example.train(small(example, steps=1, num_envs=32))
    later = example.train(small(example, steps=40, num_envs=32))
    assert later["token_loss"] < 0.8 * first["token_loss"]


@pytest.mark.parametrize("loss", ["stablemax", "softmax"])
def test_example_learns_exactly_as_the_package(example, loss) -> None:
    """Same seeds, same draws: the losses of the fourth step agree, and so all that came before."""
    args = small(example, steps=4, loss=loss)
    ours = example.train(args)
    preset = find_preset("sudoku-4x4")
    torch.manual_seed(args.seed)
    config = HRMConfig(
        **(
            preset.model.to_dict()
            | {"hidden_size": 32, "halt_max_steps": 3, "halt_exploration_prob": 0.5}
            | {"forward_dtype": "float32"}
        )
    )
    learner = Learner(
        HRM(config),
        8,
        _replace(preset.learner, warmup_steps=1, total_steps=4, token_loss=loss, q_target="full"),
    )
    envs = example.make_envs(args, "train", 8, pool_size=40)
    obs, info = envs.reset(seed=args.seed)
    for _ in range(4):
        out, action = learner.act(obs)
        next_obs, _, terminated, _, next_info = envs.step(action)
        metrics = learner.learn(out, obs, info["labels"], terminated, next_info)
        obs, info = next_obs, next_info
    for name in ("token_loss", "q_halt_loss", "q_continue_loss"):
        assert ours[name] == pytest.approx(float(metrics[name]), rel=1e-4), name


def _replace(config, **changes):
    return type(config)(**(vars(config) | changes))


def test_defaults_are_the_presets(example) -> None:
    args, preset = example.Args(), find_preset("sudoku-4x4")
    assert (args.steps, args.num_envs) == (preset.max_steps, preset.batch_size)
    assert args.ema_decay == preset.ema_decay
    for name in ("lr", "lr_min_ratio", "warmup_steps", "weight_decay"):
        assert getattr(args, name) == getattr(preset.learner, name), name
    assert args.loss == preset.learner.token_loss
    assert args.exploration == preset.model.halt_exploration_prob
    assert (args.hidden_size, args.halt_max_steps) == (96, preset.model.halt_max_steps)
    assert args.train_puzzles == preset.data.train_puzzles


def test_example_takes_only_the_model_and_the_environments() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hrm_rl"):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert imported == {"hrm_rl.HRM", "hrm_rl.HRMConfig"}
    assert len(text.splitlines()) < 250


def test_example_config_is_the_preset() -> None:
    run = resolve(read_config(EXAMPLES / "sudoku_4x4.toml"))
    assert run.preset == find_preset("sudoku-4x4")
