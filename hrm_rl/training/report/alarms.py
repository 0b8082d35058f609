"""Signs that Q-learning becomes unstable, as it may late in training: Q values out of range, a gradient that
jumps."""

import logging
import math
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents.learning.update import Rows
from hrm_rl.settings import typed
from hrm_rl.tensors import stored_tensor

_log = logging.getLogger(__name__)

# sigmoid(20) is 1 in float32, so that its loss has a gradient of 0.
Q_LIMIT = 20.0
# The norms of so many lines make the median, and so many times the median is a jump; half of it ends one.
_NORMS, _LEAST, _JUMP = 50, 10, 10.0
_ADVICE = "Training may become unstable: validate often and use RUN@best, or lower learner.lr"


class QRange:
    """The smallest and the largest Q value since the last `take`, kept on the device."""

    def __init__(self, device: torch.device) -> None:
        self._blank = torch.tensor([torch.inf, -torch.inf], device=device)
        self.range = self._blank

    def add(self, rows: Rows) -> None:
        """Add the Q values of a step. NaN does not count."""
        q_values = torch.stack([rows.q_halt, rows.q_continue]).float()
        low = torch.where(q_values.isnan(), torch.inf, q_values).amin()
        high = torch.where(q_values.isnan(), -torch.inf, q_values).amax()
        self.range = torch.stack([torch.minimum(self.range[0], low), torch.maximum(self.range[1], high)])

    def take(self) -> dict[str, float]:
        """The figures; empty without a Q value. The next range begins."""
        low, high = self.range.tolist()
        self.range = self._blank
        return {"train/q_min": low, "train/q_max": high} if low <= high else {}

    def load(self, stored: Tensor) -> None:
        """Go on with a range of before."""
        self.range = stored_tensor("q_range", stored, self._blank)


class Alarms:
    """Warns once when a figure leaves its range, and again only after it was back in it."""

    def __init__(self) -> None:
        self._ringing: set[str] = set()
        self._norms: list[float] = []

    def check(self, step: int, figures: Mapping[str, float]) -> dict[str, float]:
        """The figures of the alarms that begin at this step: `alarm/q_range`, `alarm/gradient_norm` and,
        with `on_nan` skip, `alarm/skipped`."""
        found: dict[str, float] = {}
        reach = max(
            (abs(figures[name]) for name in ("train/q_min", "train/q_max") if name in figures), default=0.0
        )
        if self._begins("alarm/q_range", reach > Q_LIMIT, reach <= Q_LIMIT):
            found["alarm/q_range"] = reach
            text = "step %d: a Q value is %.1f in size; beyond %g its loss has no gradient left. %s."
            _log.warning(text, step, reach, Q_LIMIT, _ADVICE)
        skipped = figures.get("train/skipped", 0.0)
        if self._begins("alarm/skipped", skipped > 0, skipped == 0):
            found["alarm/skipped"] = skipped
            text = "step %d: %.0f %% of the updates since the last line were not finite, and are left out."
            _log.warning(text, step, 100 * skipped)
        norm = figures.get("train/gradient_norm", math.nan)
        if math.isfinite(norm):
            usual = median(self._norms) if len(self._norms) >= _LEAST else math.inf
            self._norms = [*self._norms, norm][-_NORMS:]
            if self._begins("alarm/gradient_norm", norm > _JUMP * usual, norm <= _JUMP / 2 * usual):
                found["alarm/gradient_norm"] = norm
                text = "step %d: the gradient's norm is %.3g, %.0f times its usual one. %s."
                _log.warning(text, step, norm, norm / usual if usual else math.inf, _ADVICE)
        return found

    def _begins(self, name: str, out: bool, back: bool) -> bool:
        begins = out and name not in self._ringing
        if begins:
            self._ringing.add(name)
        elif back:
            self._ringing.discard(name)
        return begins

    def state_dict(self) -> dict[str, Any]:
        """What the next alarm depends on."""
        return {"ringing": sorted(self._ringing), "norms": list(self._norms)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self._ringing = set(typed(state["ringing"], tuple[str, ...], "alarms.ringing"))
        self._norms = list(typed(state["norms"], tuple[float, ...], "alarms.norms"))
