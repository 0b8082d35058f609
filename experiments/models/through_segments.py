"""Training with a gradient through several segments; the package's learner detaches the state in between."""

import shutil
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from hrm_rl.agents.learning.learner import Learner
from hrm_rl.agents.learning.update import JudgedSegment, Update
from hrm_rl.model import SegmentOutput
from hrm_rl.model.recurrence import Carry
from hrm_rl.training.loop import Trainer
from hrm_rl.training.run_folder import RunFolder


class SegmentsLearner(Learner):
    """`Learner` with one update every `segments` steps, from their mean loss through the carry between them.

    A row whose episode begins inside such a window starts there from a fresh carry, without gradient.
    """

    segments = 1

    def think(self, obs: dict[str, Tensor]) -> SegmentOutput:
        out = super().think(obs)
        self._connected = self._state
        return out

    def _update(self, segment: JudgedSegment) -> Update:
        loss, update = self._loss(segment)
        self._pending = self._pending + loss / self.segments
        if (self.step + 1) % self.segments:
            self.carry, self.step = self._connected, self.step + 1
            return update
        self._pending.backward()
        self.apply_gradients()
        self.carry, self._pending = segment.out.carry, 0.0
        return update

    @classmethod
    def of(cls, trainer: Trainer, segments: int) -> "SegmentsLearner":
        """The learner for a new trainer's model."""
        learner = cls(trainer.model, trainer.rows, trainer.preset.learner)
        recur = trainer.model.recur

        def keep(*given: object) -> Carry:
            learner._state = recur(*given)  # forward returns it detached
            return learner._state

        trainer.model.recur, learner.segments, learner._pending = keep, segments, 0.0
        return learner


def trainer_of(like: str, folder: Path, segments: int, seed: int) -> Trainer:
    """A trainer as that of the run `like`: as many updates, each from as many segments, of fewer puzzles."""
    preset, compute = RunFolder(like).config()
    learner = replace(preset.learner, warmup_steps=preset.learner.warmup_steps * segments)
    rows, every = preset.batch_size // segments, preset.validate_every * segments
    # A checkpoint inside a window would lack its graph.
    preset = replace(preset, learner=learner, batch_size=rows, validate_every=every, checkpoint_minutes=0)
    trainer = Trainer(preset.with_max_steps(preset.max_steps * segments), compute, RunFolder(folder), seed)
    trainer.learner = SegmentsLearner.of(trainer, segments)
    return trainer


def train(like: str, folder: Path, segments: int, seed: int) -> None:
    """Train as the run `like`, unless `folder` has the run already."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    trainer = trainer_of(like, partial, segments, seed)
    trainer.run.store(trainer.preset, trainer.compute)
    trainer.run.store_learned(trainer.data.learned())
    trainer.train(progress=False)
    partial.rename(folder)
