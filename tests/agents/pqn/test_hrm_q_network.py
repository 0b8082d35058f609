"""HRMQNetwork: its segments are the core's, how long it thinks, and what its files refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces

from hrm_rl.agents.pqn.q_network import HRMQNetwork, ThinkingConfig
from hrm_rl.model import CoreConfig

SPACE = spaces.Dict(place=spaces.Discrete(5), speed=spaces.Box(-1, 1, (2,)))
SMALL = CoreConfig(hidden_size=16, num_heads=2)


def make(space: Any = SPACE, **thinking: Any) -> HRMQNetwork:
    torch.manual_seed(0)
    return HRMQNetwork(space, 3, SMALL, ThinkingConfig(**thinking))


def observed(rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "place": torch.randint(0, 5, (rows,), generator=generator),
        "speed": torch.rand(rows, 2, generator=generator) * 2 - 1,
    }


def test_segments_are_calls_of_the_core() -> None:
    network, obs = make(max_segments=3), observed(4)
    values = network(obs)
    assert values.q_action.shape == (4, 3, 3) and values.q_continue.shape == (4, 3)
    x, carry = network.tokenizer(obs), network.initial_carry(4)
    for k in range(3):
        carry, z_H = network.core(carry, x)
        # The last one computes one position, which rounds in another way.
        torch.testing.assert_close(values.q_action[:, k], network.action_head(z_H[:, 0]))
        torch.testing.assert_close(values.q_continue[:, k], network.continue_head(z_H[:, 0])[:, 0])
    later = network(obs, carry)
    assert not torch.allclose(later.q_action[:, 0], values.q_action[:, 0])


def test_values_are_in_units_of_their_scale() -> None:
    network, obs = make(), observed(4)
    torch.manual_seed(0)
    scaled = HRMQNetwork(SPACE, 3, SMALL, value_scale=10.0)
    for ours, theirs in zip(network(obs), scaled(obs), strict=True):
        assert torch.allclose(10 * ours, theirs)


def test_it_halts_where_the_best_action_is_worth_as_much_as_thinking_on() -> None:
    """Row by row, from the values of all segments; with costs, where there were some."""
    network, obs = make(max_segments=4, segment_cost=0.1, gamma_think=0.9), observed(64)
    # Without a shift, an untrained network halts everywhere at the same segment.
    with torch.no_grad():
        network.continue_head.weight.mul_(4)
        values = network(obs)
        gap = (values.q_action.amax(-1) - values.q_continue)[:, :2]
        network.continue_head.bias.add_(gap.median())
        values, thought = network(obs), network.think(obs)
    for row in range(64):
        best, go_on = values.q_action[row].amax(-1), values.q_continue[row]
        stops = [k for k in range(4) if best[k] >= go_on[k] or k == 3]
        k = stops[0]
        assert int(thought.segments[row]) == k + 1
        assert torch.equal(thought.q_action[row], values.q_action[row, k])
        worth = 0.9**k * float(best[k]) - sum(0.1 * 0.9**j for j in range(k))
        assert float(thought.value[row]) == pytest.approx(worth, abs=1e-5)
    assert len(thought.segments.unique()) > 1
    early = network.think(obs, stop_early=True)
    assert all(torch.equal(a, b) for a, b in zip(early[:3], thought[:3], strict=True))
    carry, x = network.initial_carry(64), network.tokenizer(obs)
    for k in range(1, 5):
        carry = network.core(carry, x).carry
        rows = thought.segments == k
        assert all(map(torch.equal, thought.carry.take(rows), carry.take(rows)))


def test_a_fixed_number_of_segments_costs_nothing() -> None:
    network, obs = make(halting="fixed:3", segment_cost=5.0), observed(4)
    thought, values = network.think(obs, epsilon=1.0), network(obs)
    assert thought.segments.tolist() == [3] * 4
    torch.testing.assert_close(thought.q_action, values.q_action[:, 2])
    torch.testing.assert_close(thought.value, values.q_action[:, 2].amax(-1))


@pytest.mark.parametrize(
    ("bias", "shares"),
    [(-100.0, [0.7, 0.1, 0.1, 0.1]), (100.0, [0.1, 0.1, 0.1, 0.7])],
    ids=["halts at once", "thinks to the end"],
)
def test_each_row_explores_halting_by_itself(bias: float, shares: list[float]) -> None:
    """Epsilon is the share of rows that halt at a random segment; values are of greedy halting."""
    network = make(max_segments=4)
    torch.nn.init.zeros_(network.continue_head.weight)
    torch.nn.init.constant_(network.continue_head.bias, bias)
    obs = {"place": torch.zeros(4000).long(), "speed": torch.zeros(4000, 2)}
    thought = network.think(obs, epsilon=0.4, generator=torch.Generator().manual_seed(0))
    found = torch.bincount(thought.segments, minlength=5)[1:] / 4000
    assert torch.allclose(found, torch.tensor(shares), atol=0.02)
    assert torch.equal(thought.value, network.think(obs).value)


def test_stopping_early_keeps_the_value_of_greedy_halting() -> None:
    """A row that halts early by chance is worth what it is worth where it thinks on."""
    network, obs = make(max_segments=4, segment_cost=0.1), observed(1)
    torch.nn.init.zeros_(network.continue_head.weight)
    torch.nn.init.constant_(network.continue_head.bias, 100.0)  # greedily, thinks to the end
    drawn = set()
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        thought = network.think(obs, epsilon=1.0, generator=generator, stop_early=True)
        drawn.add(int(thought.segments))
        assert torch.equal(thought.value, network.think(obs).value)
    assert 1 in drawn


def test_a_saved_network_is_the_same_network(tmp_path: Path) -> None:
    thinking, obs = ThinkingConfig(max_segments=3, segment_cost=0.2, carry="keep"), observed(4)
    options = {"value_scale": 7.0, "kinds": {"speed": "features", "place": "features"}}
    network = HRMQNetwork(SPACE, 3, SMALL, thinking, **options)
    network.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = HRMQNetwork.load(tmp_path, SPACE)
    assert loaded.thinking == network.thinking and loaded.core.config == network.core.config
    assert all(map(torch.equal, network(obs), loaded(obs)))
    network.check_space(SPACE)  # with the same options of the tokenizer


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Dict(place=spaces.Discrete(6), speed=spaces.Box(-1, 1, (2,))), "part 'place'"),
        (spaces.Dict(place=spaces.Discrete(5), speed=spaces.Box(-1, 1, (3,))), "part 'speed'"),
        (spaces.Dict(place=spaces.Discrete(5)), "part 'speed'.*missing here"),
        (spaces.Discrete(5), "part 'place'"),
    ],
)
def test_other_observations_are_refused_by_the_part(space, message, tmp_path) -> None:
    network = make()
    network.save(tmp_path)
    with pytest.raises(ValueError, match=message):
        HRMQNetwork.load(tmp_path, space)
    with pytest.raises(ValueError, match=message):
        network.check_space(space)
    network.check_space(SPACE)


def test_damaged_weights_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        HRMQNetwork.load(tmp_path, SPACE)
    make().save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        HRMQNetwork.load(tmp_path, SPACE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": 4}, r"does not fit: .*action_head"),
        ({"kind": "hrm"}, r"config\.json is not for an HRMQNetwork.*'hrm'"),
        ({"actions": "2"}, r"config\.json is not for"),
        ({"value_scale": "1"}, r"config\.json is not for"),
        ({"tokens": None}, r"config\.json is not for"),
        ({"tokens": {"a": 1}}, r"config\.json is not for"),
        (None, r"config\.json is not a model configuration"),
    ],
)
def test_a_wrong_configuration_is_named(change: Any, message: str, tmp_path: Path) -> None:
    make().save(tmp_path)
    config = tmp_path / "config.json"
    settings = json.loads(config.read_text())
    config.write_text("{" if change is None else json.dumps(settings | change))
    with pytest.raises(ValueError, match=message):
        HRMQNetwork.load(tmp_path, SPACE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("halting", value) for value in ("fixed:0", "fixed", "q")),
        *(("max_segments", value) for value in (0, 2.5)),
        *(("segment_cost", value) for value in (-0.1, float("nan"))),
        *[("gamma_think", 1.1), ("carry", "store"), ("actions", 0), ("value_scale", 0)],
    ],
)
def test_bad_settings_are_refused(name: str, value: Any) -> None:
    bad = {name: value}
    with pytest.raises(ValueError, match=f"{name} must .*{value}"):
        if name in ("actions", "value_scale"):
            HRMQNetwork(SPACE, **({"actions": 2} | bad))
        else:
            ThinkingConfig(**bad)
