import pytest
import torch

from hrm_rl.agents.learning.q_targets import continue_target


def sigmoid(x: float) -> float:
    return torch.tensor(x).sigmoid().item()


def test_the_better_of_both_before_the_last_segment() -> None:
    halt, go_on = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 3.0, 0.5])
    target = continue_target(halt, go_on, torch.zeros(3, dtype=torch.bool))
    assert target.tolist() == pytest.approx([sigmoid(1.0), sigmoid(3.0), sigmoid(0.5)])


def test_only_halting_is_left_after_the_last_segment() -> None:
    halt, go_on = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 3.0])
    target = continue_target(halt, go_on, torch.ones(2, dtype=torch.bool))
    assert target.tolist() == pytest.approx([sigmoid(1.0), sigmoid(-2.0)])


def test_gamma_and_cost() -> None:
    halt = torch.tensor([0.0, 2.0])
    target = continue_target(halt, halt, torch.zeros(2, dtype=torch.bool), 0.9, 0.05)
    assert target.tolist() == pytest.approx([0.9 * 0.5 - 0.05, 0.9 * sigmoid(2.0) - 0.05])


def test_target_stays_a_probability() -> None:
    low = torch.tensor([-9.0])
    never = torch.zeros(1, dtype=torch.bool)
    assert continue_target(low, low, never, 1.0, 0.5).item() == 0.0
    assert continue_target(-low, -low, never, 1.0, 0.0).item() <= 1.0
