"""Rules for stopping on the pinned bank: where they stop, what is chosen, what is reported."""

from pathlib import Path
from typing import Any

import observe
import pytest

PINNED = observe.stored("bank")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    policies = PINNED["report"]["settings"]["policies"]
    return observe.compared(policies, tmp_path_factory.mktemp("compare"))


@pytest.mark.parametrize("spec", PINNED["given"])
def test_a_given_rule(spec: str) -> None:
    assert observe.stops(spec, None) == PINNED["given"][spec], f"{spec} does something else"


@pytest.mark.parametrize("policy", PINNED["chosen"])
def test_a_chosen_rule(policy: str, compared: dict[str, Any]) -> None:
    found = compared["chosen"].get(policy)
    assert found == PINNED["chosen"][policy], f"another rule is chosen for {policy}"


@pytest.mark.parametrize("part", PINNED["report"])
def test_the_report(part: str, compared: dict[str, Any]) -> None:
    found, wanted = compared["report"].get(part), PINNED["report"][part]
    assert observe.differences(found, wanted, rel=1e-9, at=part) == []
    assert compared["report"].keys() == PINNED["report"].keys()


@pytest.mark.slow
def test_rules_learned_by_reinforcement(tmp_path: Path) -> None:
    """Thousands of updates: on another machine a puzzle or two may stop elsewhere."""
    wanted = PINNED["reinforced"]
    found = observe.reinforced(list(wanted), tmp_path)
    for policy in wanted:
        pair = found[policy]["stopped"], wanted[policy]["stopped"]
        alike = [a == b for a, b in zip(*pair, strict=True)]
        share = sum(alike) / len(alike)
        assert share >= 0.9, f"{policy}: {share:.0%} of the puzzles stop where they did"
