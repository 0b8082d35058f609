"""What older code wrote opens, and gives what it gave: runs, a trace bank, learned rules."""

from pathlib import Path

import observe
import pytest

PINNED = observe.stored("artifacts")


@pytest.mark.parametrize("name", PINNED["runs"])
def test_a_run(name: str, tmp_path: Path) -> None:
    found = observe.opened(observe.ARTIFACTS / name, tmp_path)
    assert observe.differences(found, PINNED["runs"][name], rel=1e-5, at=name) == []


def test_the_bank() -> None:
    assert observe.differences(observe.bank_header(), PINNED["bank"], rel=1e-9, at="bank") == []


@pytest.mark.parametrize("spec", PINNED["rules"])
def test_a_learned_rule(spec: str) -> None:
    assert observe.stops(spec) == PINNED["rules"][spec], f"{spec} does something else"
