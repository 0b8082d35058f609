"""ThinkingLog: spans of steps and figures by hand."""

import pytest
import torch

from hrm_rl.agents.thinking_log import ThinkingLog, span_of


def test_spans_double() -> None:
    steps = (1, 2, 3, 4, 5, 8, 9, 512, 513)
    assert [span_of(step) for step in steps] == (
        ["0001", "0002", "0003-0004", "0003-0004", "0005-0008", "0005-0008", "0009-0016"]
        + ["0257-0512", "0513-1024"]
    )


def test_figures_by_hand_across_rollouts() -> None:
    """Two rows. The first one's episode ends at its third step, in the second rollout."""
    log = ThinkingLog([0.0, 0.5, 1.0], 2, torch.device("cpu"))
    first = log.add(torch.tensor([[1, 2], [3, 2]]), torch.zeros(2, 2, dtype=torch.bool))
    assert first["segments"] == 2 and first["segments_at_0001"] == 1.5
    assert first["segments_at_0002"] == 2.5 and first["segments_at_0003-0004"].isnan()
    assert [float(first[f"halted_at_{k}"]) for k in (1, 2, 3)] == [0.25, 0.5, 0.25]
    assert first["episode_price"].isnan()
    ended = torch.tensor([[True, False], [False, False]])
    second = log.add(torch.tensor([[2, 1], [3, 1]]), ended)
    assert second["episode_price"] == 0.0 + 1.0 + 0.5
    assert second["segments_at_0001"] == 3  # the first row's next episode
    assert second["segments_at_0003-0004"] == pytest.approx(4 / 3)


def test_the_last_span_holds_all_later_steps() -> None:
    log = ThinkingLog([0.0], 1, torch.device("cpu"))
    found = log.add(torch.ones(3000, 1, dtype=torch.int64), torch.zeros(3000, 1, dtype=torch.bool))
    assert all(value == 1 for name, value in found.items() if name.startswith("segments_at"))
