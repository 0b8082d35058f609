"""Cue recall: remember a symbol over a gap, the simplest task that needs memory."""

import colorsys
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hrm_rl.settings import check_integers
from hrm_rl.tensors import read_discrete

BLANK, QUERY, FIRST_CUE = 0, 1, 2
_CELL = 24  # pixels


class CueRecallEnv(gym.Env[np.int64, np.int64]):
    """Name a cue after a gap: the episode is a cue, uninformative observations and a query.

    ## Description

    The first observation is a cue, drawn uniformly from `cues`. `delay` uninformative observations follow:
    blanks or, with `distractors`, symbols drawn at random. Then comes the query, the same for every cue;
    the action on it should name the cue. Earlier actions have no effect.

    Without memory no policy has an expected return above 1 / cues; with memory the best return is 1.

    ## Observation space

    `Discrete(2 + cues + distractors)`: 0 blank, 1 query, then the cues, then the distractors.

    ## Action space

    `Discrete(cues)`: on the query, action a names cue a, which was observation 2 + a.

    ## Rewards

    1 for naming the cue on the query, else 0.

    ## Starting state

    A cue, drawn uniformly.

    ## Episode end

    Terminated by the action on the query, so every episode takes delay + 2 steps. Never truncated.

    ## Info

    `cue`, int: the cue to name. `is_success`, bool, in the last step: it was named.

    Args:
        cues: number of different cues, >= 2.
        delay: steps between the cue and the query, >= 0.
        distractors: number of different symbols in the gap; 0 leaves it blank.
        render_mode: None, "ansi" (one line for the episode so far), or "rgb_array" (one cell for each step:
            cues in colour, the gap dark, distractors paler, the query white).

    Raises:
        ValueError: a setting out of range.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self, cues: int = 4, delay: int = 5, distractors: int = 0, render_mode: str | None = None
    ) -> None:
        self.cues, self.delay, self.distractors = cues, delay, distractors
        check_integers(self, 2, "cues")
        check_integers(self, 0, "delay", "distractors")
        if render_mode not in (None, "ansi", "rgb_array"):
            raise ValueError(f"render_mode must be None, 'ansi' or 'rgb_array', got {render_mode!r}")
        self.render_mode = render_mode
        self.observation_space = spaces.Discrete(FIRST_CUE + cues + distractors)
        self.action_space = spaces.Discrete(cues)
        self._cue = 0
        self._seen: list[int] = []
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self._cue = int(self.np_random.integers(self.cues))
        self._seen, self._over = [FIRST_CUE + self._cue], False
        return np.int64(self._seen[-1]), {"cue": self._cue}

    def step(self, action: Any) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        if self._over:
            raise ValueError("no episode is running: call reset() first")
        named = read_discrete(self.action_space, action)
        if self._seen[-1] == QUERY:
            correct = named == self._cue
            self._over = True
            info = {"cue": self._cue, "is_success": correct}
            return np.int64(QUERY), float(correct), True, False, info
        self._seen.append(self._next())
        return np.int64(self._seen[-1]), 0.0, False, False, {"cue": self._cue}

    def render(self) -> Any:
        """Return a line such as `cue 2 . . ?`, or uint8 [24, 24 * (delay + 2), 3], by `render_mode`."""
        if self.render_mode == "ansi":
            return " ".join(map(self._word, self._seen))
        if self.render_mode == "rgb_array":
            cells = np.zeros((1, self.delay + 2, 3), np.uint8)
            for place, symbol in enumerate(self._seen):
                cells[0, place] = self._color(symbol)
            return cells.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
        return None

    def _next(self) -> int:
        """The next observation: of the gap, or the query."""
        if len(self._seen) > self.delay:
            return QUERY
        if not self.distractors:
            return BLANK
        return FIRST_CUE + self.cues + int(self.np_random.integers(self.distractors))

    def _word(self, symbol: int) -> str:
        if symbol in (BLANK, QUERY):
            return ".?"[symbol]
        place = symbol - FIRST_CUE
        return f"cue {place}" if place < self.cues else f"x{place - self.cues}"

    def _color(self, symbol: int) -> list[int]:
        if symbol in (BLANK, QUERY):
            return [60, 60, 60] if symbol == BLANK else [255, 255, 255]
        place = symbol - FIRST_CUE
        if place < self.cues:
            color = colorsys.hsv_to_rgb(place / self.cues, 0.9, 0.9)
        else:
            color = colorsys.hsv_to_rgb((place - self.cues) / self.distractors, 0.3, 0.6)
        return [round(255 * part) for part in color]
