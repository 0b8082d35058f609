"""Signs of unstable Q-learning: measured on the device, reported once an occurrence."""

import math

import pytest
import torch

from hrm_rl.agents.learning.update import Rows
from hrm_rl.training.report.alarms import Alarms, QRange


def rows(q_halt: list[float], q_continue: list[float]) -> Rows:
    blank = torch.zeros(len(q_halt))
    return Rows(blank, blank, blank, blank, torch.tensor(q_halt), torch.tensor(q_continue), blank)


def test_the_range_of_q_values_since_the_last_line() -> None:
    q_range = QRange(torch.device("cpu"))
    assert q_range.take() == {}
    q_range.add(rows([-5.0, 2.0], [0.0, 1.0]))
    q_range.add(rows([math.nan, 1.0], [-6.5, 3.0]))
    assert q_range.take() == {"train/q_min": -6.5, "train/q_max": 3.0}
    q_range.add(rows([1.0], [1.0]))
    assert q_range.take() == {"train/q_min": 1.0, "train/q_max": 1.0}


def test_an_alarm_rings_once_an_occurrence(caplog) -> None:
    alarms, rung = Alarms(), []
    for step, low in enumerate([-5.0, -19.9, -21.0, -30.0, -22.0, -5.0, -20.5]):
        before = alarms.state_dict()
        alarms = Alarms()
        alarms.load_state_dict(before)  # as a resume does
        if found := alarms.check(step, {"train/q_min": low, "train/q_max": 1.0}):
            rung.append((step, found))
    assert rung == [(2, {"alarm/q_range": 21.0}), (6, {"alarm/q_range": 20.5})]
    assert caplog.text.count("a Q value is") == 2 and "RUN@best" in caplog.text


@pytest.mark.parametrize("usual", [0.1, 3.0])
def test_a_gradient_that_jumps(caplog, usual) -> None:
    alarms = Alarms()
    norms = [usual * (1 + 0.1 * math.sin(k)) for k in range(30)]
    norms[4] = 100 * usual  # too early to know what is usual
    norms[20:23] = [30 * usual, 40 * usual, math.nan]
    norms += [20 * usual]
    rung = [step for step, norm in enumerate(norms) if alarms.check(step, {"train/gradient_norm": norm})]
    assert rung == [20, 30]
    assert caplog.text.count("times its usual one") == 2
