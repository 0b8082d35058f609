"""The report of a running training: averages to the logs, a progress bar, and the stop at a NaN."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from hrm_rl.agents import Learner
from hrm_rl.agents.learning.optim import SkipBroken
from hrm_rl.agents.learning.update import Update
from hrm_rl.evaluation.progress import progress_bar
from hrm_rl.messages import also_valid
from hrm_rl.model import ReasoningModel
from hrm_rl.model.files.tensors import not_finite
from hrm_rl.settings import reading
from hrm_rl.tensors import stored_tensor
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.alarms import Alarms, QRange
from hrm_rl.training.report.gradient import GradientNorm
from hrm_rl.training.report.metrics import IntervalMetrics, MetricsLog, NoLog
from hrm_rl.training.roll_back import NotFinite
from hrm_rl.training.run_folder import RunFolder

_MOST_SKIPPED = 100  # in a row


class Report:
    """Follows a run from the learner's step on, until `close`."""

    def __init__(
        self,
        preset: Preset,
        compute: Compute,
        run: RunFolder,
        learner: Learner,
        *,
        graphs: bool,
        bar: bool,
        track: Iterable[str] = (),
    ) -> None:
        self._step = first_step = learner.step
        self.run = run
        first = learner.ranks.first
        settings = preset, compute
        self.log = MetricsLog(run, first_step, settings=settings, track=track) if first else NoLog()
        self.gradient = GradientNorm(learner, graphs=graphs)
        self._metrics = IntervalMetrics(preset.model.halt_max_steps, learner.model.device)
        self._alarms = Alarms()
        self._q_range = None if learner.whole_episodes else QRange(learner.model.device)
        steps: Any = {"total": preset.max_steps, "initial": first_step}
        self._bar = progress_bar(shown=bar and first, desc=preset.name, unit="step", **steps)

    def close(self) -> None:
        """Close the files and the bar."""
        self._bar.close()
        self.gradient.close()
        self.log.close()

    def add(self, update: Update, step: int) -> None:
        """Add the update of step `step`."""
        self._metrics.add(update, step)
        if self._q_range is not None:
            self._q_range.add(update.rows)
        self._step = step
        self._bar.update()

    def write_averages(self, step: int, learning_rate: float) -> None:
        """Write the averages since the last call."""
        figures, histogram = self._metrics.take()
        figures["train/learning_rate"] = learning_rate
        watched = self.gradient.take() | (self._q_range.take() if self._q_range is not None else {})
        self.log.write(step, figures | self._alarms.check(step, figures | watched), histogram)
        self.log.show(step, watched)
        shown = {"loss": f"{figures.get('train/token_loss', math.nan):.3f}"}
        if "rollout/mean_segments" in figures:
            shown["exact"] = f"{100 * figures['rollout/exact_accuracy']:.1f}%"
            shown["segments"] = f"{figures['rollout/mean_segments']:.2f}"
        self._bar.set_postfix(shown, refresh=False)

    def write_validation(self, step: int, validation: Mapping[str, Any]) -> None:
        """Write a validation's figures."""
        self.log.write(step, {f"eval/{name}": value for name, value in validation.items()})
        if not self._bar.disable:
            self._bar.write(
                f"step {step}: validation {100 * validation['exact_accuracy']:.1f} % "
                f"exact{also_valid(validation)} after {validation['mean_segments']:.1f} segments",
                file=sys.stderr,
            )

    def refuse_nan(
        self, model: ReasoningModel, *, weights: bool = False, skip: SkipBroken | None = None
    ) -> None:
        """Raise FloatingPointError if a loss was not a finite number, or `skip` left out too many updates;
        with `weights`, also if a weight is not one, which a checkpoint must not hold."""
        if skip is not None and (skipped := int(skip.in_a_row)) >= _MOST_SKIPPED:
            raise NotFinite(f"the last {skipped} updates were not finite and left out", self._advice())
        broken = self._metrics.first_broken()
        if broken is None and not weights:
            return
        spoilt = not_finite(dict(model.named_parameters()))
        if broken is None and not spoilt:
            return
        found = f"{broken[0]} is not a number at step {broken[1]}" if broken else f"step {self._step}"
        tensors = f"; weights no longer finite: {', '.join(spoilt[:3])}" if spoilt else ""
        more = f" and {len(spoilt) - 3} more" if len(spoilt) > 3 else ""
        raise NotFinite(f"{found}{tensors}{more}", self._advice())

    def _advice(self) -> str:
        kept = self.run.checkpoints()
        last = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was made before"
        return f"Training stops; {last}. A lower learner.lr, or --dtype float32, may help"

    def state_dict(self) -> dict[str, Any]:
        """What the next line of the log depends on besides the next steps."""
        return {
            "metrics": self._metrics.state_dict(),
            "gradient_norm": self.gradient.norm,
            "q_range": None if self._q_range is None else self._q_range.range,
            "alarms": self._alarms.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`. Raises ValueError if it is damaged."""
        with reading(self.run.path, "a run whose log can go on"):
            self._metrics.load_state_dict(state["metrics"])
            norm = state["gradient_norm"]
            scalar = torch.zeros((), device=self._metrics.device)
            self.gradient.norm = None if norm is None else stored_tensor("gradient_norm", norm, scalar)
            if self._q_range is not None and state.get("q_range") is not None:
                self._q_range.load(state["q_range"])
            if "alarms" in state:  # checkpoints of before do not have it
                self._alarms.load_state_dict(state["alarms"])
