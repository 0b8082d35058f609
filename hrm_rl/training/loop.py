"""The training loop: reinforcement learning over a vector of puzzles, one segment a step."""

import dataclasses
import logging
import sys
import time
from typing import Any

import torch
from tqdm import tqdm

from hrm_rl.agents import Learner, make_learner
from hrm_rl.agents.learning.graphs import GraphedLearner
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.model import HRM
from hrm_rl.training.average import WeightAverage
from hrm_rl.training.data import TrainingData, training_data
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.machine.memory import is_out_of_memory, step_memory, too_large, total_memory
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.boards import write_boards
from hrm_rl.training.report.metrics import IntervalMetrics, MetricsLog
from hrm_rl.training.run_folder import RunFolder
from hrm_rl.training.schedule import warmup_note

log = logging.getLogger(__name__)


class Trainer:
    """One run: its environments, learner, weight average and folder."""

    def __init__(
        self,
        preset: Preset,
        compute: Compute,
        run: RunFolder,
        seed: int = 0,
        data: TrainingData | None = None,
        *,
        graphs: bool = False,
    ) -> None:
        """`data` is what `training_data` made of the preset's, where that has been done already; with
        `graphs` steps and validations are replayed as CUDA graphs (`hrm_rl.agents.learning.graphs`).

        Raises ValueError for graphs of steps that are not all alike.
        """
        compute.apply()
        learner = dataclasses.replace(preset.learner, seed=seed)
        preset = dataclasses.replace(preset, learner=learner)
        self.preset, self.compute, self.run, self.seed = preset, compute, run, seed
        data = data or training_data(preset.data, compute.device)
        # Fitting a run to a machine may have cut its validation.
        few = data.validation.take(slice(0, preset.data.validation_puzzles))
        self.data: TrainingData = dataclasses.replace(data, validation=few)
        torch.manual_seed(seed)
        self.model = HRM(preset.model).to(compute.device)
        make = GraphedLearner if graphs else make_learner
        self.learner: Learner = make(self.model, preset.batch_size, preset.learner)
        self.graphs = graphs
        self.average = WeightAverage(self.model, preset.ema_decay) if preset.ema_decay else None
        if compute.compile:
            self.model.compile_blocks()
        self.envs = PuzzleVectorEnv(
            preset.batch_size,
            data.source,
            halt_max_steps=preset.model.halt_max_steps,
            segment_cost=preset.learner.segment_cost,
            device=compute.device,
        )

    @property
    def evaluated_model(self) -> HRM:
        """What is evaluated and saved: the weight average where there is one."""
        return self.average.model if self.average else self.model

    @property
    def rule(self) -> str:
        """The rule for stopping that the run was trained with."""
        return halting_rule(self.preset)

    def train(self, progress: bool = True) -> dict[str, Any]:
        """Train to `max_steps`; returns the last validation's figures and the seconds taken.

        Raises FloatingPointError where a loss stops being a number, MemoryError where the batch does
        not fit; the checkpoints made before stay.
        """
        try:
            return self._train(progress)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            memory = step_memory(self.preset.model, self.preset.learner)
            device = self.compute.device
            # From None: the traceback holds the tensors that did not fit.
            raise too_large(self.preset.batch_size, device, memory, total_memory(device)) from None

    def _train(self, progress: bool) -> dict[str, Any]:
        preset, learner, envs = self.preset, self.learner, self.envs
        if learner.step == 0 and (short := warmup_note(preset)):
            log.warning(short)
        metrics = IntervalMetrics(preset.model.halt_max_steps, envs.device)
        writer = MetricsLog(self.run, first_step=learner.step)
        obs, info = envs.reset(seed=self.seed) if learner.step == 0 else envs.current()
        validation: dict[str, Any] = {}
        start = time.perf_counter()
        bar = tqdm(
            total=preset.max_steps,
            initial=learner.step,
            disable=not progress,
            desc=preset.name,
            unit="step",
            dynamic_ncols=True,
        )
        try:
            while learner.step < preset.max_steps:
                out, action = learner.act(obs)
                next_obs, _, _, _, next_info = envs.step(action)
                step_metrics = learner.learn(out, obs, info["labels"], next_info)
                obs, info = next_obs, next_info
                if self.average:
                    self.average.update()
                step = learner.step
                metrics.add(step_metrics, step)
                bar.update()
                if step % preset.log_every == 0 or step == preset.max_steps:
                    self._refuse_nonsense(metrics)
                    figures, histogram = metrics.take()
                    figures["train/learning_rate"] = learner.learning_rate
                    writer.write(step, figures, histogram)
                    _show(bar, figures)
                if step % preset.validate_every == 0 or step == preset.max_steps:
                    self._refuse_nonsense(metrics)
                    validation = self.validate()
                    writer.write(step, {f"eval/{k}": v for k, v in validation.items()})
                    write_boards(writer, step, self.evaluated_model, self.data)
                    self.save()
                    if progress:
                        bar.write(
                            f"step {step}: validation {100 * validation['exact_accuracy']:.1f} % "
                            f"exact after {validation['mean_segments']:.1f} segments",
                            file=sys.stderr,
                        )
        finally:
            bar.close()
            writer.close()
        return {**validation, "steps": learner.step, "seconds": time.perf_counter() - start}

    def _refuse_nonsense(self, metrics: IntervalMetrics) -> None:
        """Raises FloatingPointError, before anything is saved, where a loss was no number."""
        broken = metrics.first_broken()
        if broken is None:
            return
        name, step = broken
        weights = [n for n, p in self.model.named_parameters() if not p.isfinite().all()]
        tensors = f"; weights no longer finite: {', '.join(weights[:3])}" if weights else ""
        more = f" and {len(weights) - 3} more" if len(weights) > 3 else ""
        kept = self.run.checkpoints()
        last = (
            f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was made before"
        )
        raise FloatingPointError(
            f"{name} is not a number at step {step}{tensors}{more}. Training stops; {last}. A lower "
            "learner.lr, or --dtype float32, may help"
        )

    def validate(self) -> dict[str, Any]:
        """Halting by the run's own rule on the validation puzzles."""
        result = evaluate(
            self.evaluated_model,
            self.data.validation,
            self.rule,
            batch_size=self.preset.batch_size,
            validator=self.data.validator,
            graphs=self.graphs,
        )
        return result.summary()

    def save(self) -> None:
        """A checkpoint of everything the next step depends on."""
        state = {
            "learner": self.learner.state_dict(),
            "weights": self.model.state_dict(),
            "envs": self.envs.state_dict(),
            "seed": self.seed,
        }
        self.run.save(self.learner.step, self.evaluated_model, state)

    def restore(self) -> None:
        """Go on from the folder's newest checkpoint."""
        state = self.run.load_state()
        average, _ = self.run.load_model()
        try:
            self.model.load_state_dict(state["weights"])
            self.learner.load_state_dict(state["learner"])
            self.envs.load_state_dict(state["envs"])
            self.seed = state["seed"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{self.run.latest()} does not fit this run: {reason}") from None
        if self.average:
            self.average.model.load_state_dict(average.state_dict())


def halting_rule(preset: Preset) -> str:
    """The spec of the rule a run was trained with.

    q, or q-halt without a bootstrap target; with jointly trained halting where the sum of the halting
    units reaches 1 - act_epsilon, or where having halted has become likelier than not.
    """
    if preset.learner.halting == "act":
        return f"act:{1 - preset.learner.act_epsilon:g}"
    if preset.learner.halting == "ponder":
        return "ponder:0.5"
    return "q-halt:0" if preset.learner.q_target == "none" else "q"


def _show(bar: Any, figures: dict[str, float]) -> None:
    shown = {"loss": f"{figures['train/token_loss']:.3f}"}
    if "rollout/mean_segments" in figures:
        shown["exact"] = f"{100 * figures['rollout/exact_accuracy']:.1f}%"
        shown["segments"] = f"{figures['rollout/mean_segments']:.2f}"
    bar.set_postfix(shown)
