"""Returning to the newest checkpoint when a value is not finite (`on_nan` roll-back)."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol, TypeVar

from hrm_rl.agents import Learner
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.training.presets import Preset
from hrm_rl.training.run_folder import RunFolder

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

MOST = 3
"""Times that a run returns to one checkpoint."""


class NotFinite(FloatingPointError):
    """A loss or a weight is NaN or infinite."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(f"{found}. {advice}")
        self.found = found


class Restorable(Protocol):
    """What is needed of a Trainer."""

    preset: Preset
    run: RunFolder
    learner: Learner
    envs: PuzzleVectorEnv

    def restore(self) -> None:
        """Go on from the newest checkpoint."""


def rolling_back(trainer: Restorable, train: Callable[[], _Result]) -> _Result:
    """What `train` returns; it starts again from the newest checkpoint when a value was not finite.

    Raises FloatingPointError without a checkpoint, or at the fourth time from the same one.
    """
    times: Counter[int] = Counter()
    while True:
        try:
            return train()
        except FloatingPointError as error:
            if trainer.preset.on_nan != "roll-back" or not trainer.run.checkpoints():
                raise
            at = trainer.learner.step
            _return_to_checkpoint(trainer)
            step = trainer.learner.step
            times[step] += 1
            found = getattr(error, "found", str(error))
            if times[step] > MOST:
                again = f"It is the fault number {times[step]} after step {step}: training stops"
                raise NotFinite(found, f"{again}. A lower learner.lr, or --dtype float32, may help") from None
            _log.warning(
                "%s. Back from step %d to %d, time %d of %d, with other puzzles.",
                *(found, at, step, times[step], MOST),
            )


def _return_to_checkpoint(trainer: Restorable) -> None:
    """Load the weights, their average and the optimizer. The puzzles go on where they are, in new episodes,
    and so do the random numbers: the same ones would lead to the same fault."""
    envs, drawn = trainer.envs.state_dict(), trainer.learner.generator.get_state()
    trainer.restore()
    trainer.envs.load_state_dict(envs)
    trainer.envs.reset()
    trainer.learner.generator.set_state(drawn)
    trainer.learner.begin_episodes()
