"""examples/memory_recurrent_ppo.py runs with either policy, and ends with its result as JSON."""

import json
from types import ModuleType

import pytest

pytest.importorskip("sb3_contrib")


@pytest.fixture(scope="module")
def example(load_example) -> ModuleType:
    return load_example("memory_recurrent_ppo")


def small(example: ModuleType, **changes):
    settings = {"steps": 32, "num_envs": 4, "rollout": 8, "batch_size": 16, "epochs": 1}
    settings |= {"delay": 1, "hidden_size": 8, "lstm_hidden_size": 8, "episodes": 8}
    return example.Args(**(settings | changes))


@pytest.mark.parametrize("policy", ["hrm", "lstm"])
def test_it_trains_and_prints_its_result(example, policy, capsys) -> None:
    result = example.main(small(example, policy=policy, json=True))
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 <= result["return"] == printed["return"] <= 1
    assert printed["settings"]["policy"] == policy
    assert [step for step, _ in printed["curve"]] == [32]


def test_policies_compared_are_about_as_large(example) -> None:
    """The defaults, so that the table in docs/recurrent.md compares like with like."""
    sizes = [
        sum(p.numel() for p in example.make_model(example.Args(policy=policy)).policy.parameters())
        for policy in ("hrm", "lstm")
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_minigrid_keeps_a_small_state(example) -> None:
    pytest.importorskip("minigrid")
    args = small(example, env="MiniGrid-MemoryS7-v0", num_envs=2)
    model = example.make_model(args)
    assert model.policy.lstm_actor.num_layers == 4
    obs = model.get_env().reset()
    assert model.predict(obs)[1][0].shape == (4, 2, 8)
