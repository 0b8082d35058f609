"""The training loop: reinforcement learning over a vector of puzzles, one segment a step."""

import contextlib
import dataclasses
import logging
import shlex
import time
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.agents import Learner, make_learner
from hrm_rl.agents.learning.graphs import GraphedLearner
from hrm_rl.agents.learning.update import Update
from hrm_rl.distributed.ranks import current
from hrm_rl.distributed.sharding import Sharding, gathered, load, shard
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.halting import TraceBank
from hrm_rl.model import PuzzleModel, ReasoningModel, make_model
from hrm_rl.process.stopping import Stop, postponed
from hrm_rl.tensors import total_memory
from hrm_rl.training.average import WeightAverage
from hrm_rl.training.config.doubtful import doubts
from hrm_rl.training.config.init import Init
from hrm_rl.training.data import TrainingData, training_data
from hrm_rl.training.data.learned import puzzle_keys, scores_apart
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.machine.memory import is_out_of_memory, step_memory, too_large
from hrm_rl.training.machine.pace import Pace
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.boards import segment_figures, watch, write_boards
from hrm_rl.training.report.progress import Report
from hrm_rl.training.roll_back import rolling_back
from hrm_rl.training.run_folder import RunFolder

log = logging.getLogger(__name__)

Obs = dict[str, Tensor]
Info = dict[str, Any]


class Trainer:
    """One run: its environments, learner, weight average and folder."""

    given: Collection[str] = ()
    """The settings that the user gave, by key; those that this run does not read are named as it begins."""
    track: Collection[str] = ()
    """Trackers beside TensorBoard, by name (`hrm_rl.training.report.trackers`)."""

    def __init__(
        self,
        preset: Preset,
        compute: Compute,
        run: RunFolder,
        seed: int = 0,
        data: TrainingData | None = None,
        init: Init | None = None,
        *,
        graphs: bool = False,
        sharding: Sharding | None = None,
        pace: Pace | None = None,
    ) -> None:
        """
        Args:
            preset: what to train.
            compute: how to compute.
            run: where the run is stored.
            seed: of weights, puzzles and exploration.
            data: `training_data` of the preset's data, if it exists already.
            init: weights to start from; by default random ones.
            graphs: replay steps and validations as CUDA graphs (`hrm_rl.agents.learning.graphs`).
            sharding: of several ranks: `full` divides the model among them (`hrm_rl.distributed.sharding`).
            pace: follows the steps' time and chooses the threads again where it stays slow.

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
        told = (data.kind.relations, data.kind.favoured) if preset.model.relation_bias else ()
        model = make_model(preset.model, *told)
        if init is not None:
            model.load_state_dict(init.tensors)
        self.model = model.to(compute.device)
        self.ranks = ranks = current()
        ranks.follow(self.model.state_dict().values())
        self.rows = ranks.share(preset.batch_size)
        self.average = WeightAverage(self.model, preset.ema_decay) if preset.ema_decay else None
        self.sharded = sharding == "full"
        if self.sharded:
            self._shard()
        make = GraphedLearner if graphs else make_learner
        self.learner: Learner = make(self.model, self.rows, preset.learner, ranks=ranks)
        self.skip = self.learner.skip_broken() if preset.on_nan == "skip" else None
        self.graphs, self.pace = graphs, pace
        self._report: Report | None = None
        self._report_state: dict[str, Any] | None = None
        self._saved_at = time.monotonic()
        if compute.compile:
            self.model.compile_blocks()
        self.envs = PuzzleVectorEnv(
            self.rows,
            data.source_at(0),
            halt_max_steps=preset.model.halt_max_steps,
            segment_cost=preset.learner.segment_cost,
            device=compute.device,
        )

    def _shard(self) -> None:
        if self.preset.on_nan == "skip":
            raise ValueError("on_nan skip looks at whole gradients: not with sharding full")
        if self.preset.learner.optimizer == "muon":
            raise ValueError("optimizer 'muon' takes whole matrices: not with sharding full")
        for model in (self.model, self.average.model) if self.average else (self.model,):
            table = model.puzzle_emb.parameters() if model.puzzle_emb is not None else ()
            shard(model, dtype=model.dtype, whole=table)
        if self.average:
            self.average.follow(self.model)

    @property
    def evaluated_model(self) -> ReasoningModel:
        """The model that is evaluated and saved: the weight average, if there is one; with sharding, a whole
        copy, for which all ranks must ask."""
        model = self.average.model if self.average else self.model
        if not self.sharded:
            return model
        return PuzzleModel.from_state(model.config, gathered(model.state_dict())).to(self.compute.device)

    @property
    def rule(self) -> str:
        """The rule for stopping that the run trains for, which validation uses."""
        return self.learner.rule

    def train(self, progress: bool = True) -> dict[str, Any]:
        """Train to `max_steps`; returns the last validation's figures and the seconds taken.

        A stop signal (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1) takes its usual course once the step is done and
        saved: Ctrl-C raises KeyboardInterrupt. A second Ctrl-C raises it at once.

        Raises FloatingPointError if a loss becomes infinite or NaN (see `on_nan`), MemoryError if the batch
        does not fit; earlier checkpoints stay.
        """
        if self.learner.step == 0:
            for note in doubts(self.preset, self.data.source.num_ids, self.given):
                log.warning(note)
        start = time.perf_counter()
        try:
            with self.run.lock:
                validation = rolling_back(self, lambda: self._train(progress))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            memory, device = step_memory(self.preset.model, self.preset.learner), self.compute.device
            # From None: the traceback holds the tensors that did not fit.
            raise too_large(self.preset.batch_size, device, memory, total_memory(device)) from None
        seconds = time.perf_counter() - start
        return {**validation, "steps": self.learner.step, "seconds": seconds}

    def _train(self, progress: bool) -> dict[str, Any]:
        preset, learner = self.preset, self.learner
        obs, info = self.begin()
        validation: dict[str, Any] = {}
        stopping = False
        with postponed() as stop, self._reporting(progress) as report:
            if self._lacks_validation():
                validation = self._checkpoint(report, stop)
                _, stopping = self._agree(stop)
            while learner.step < preset.max_steps and not stopping:
                begun = time.perf_counter()
                report.gradient.expect(self._is_due(preset.log_every, learner.step + 1))
                update, obs, info = self.step(obs, info)
                report.add(update, learner.step)
                self._keep_pace(report, time.perf_counter() - begun)
                if self._is_due(preset.log_every, learner.step):
                    report.refuse_nan(self.model, skip=self.skip)
                    report.write_averages(learner.step, learner.learning_rate)
                if self._is_due(preset.validate_every, learner.step):
                    validation = self._checkpoint(report, stop)
                saving, stopping = self._agree(stop)
                if (saving or stopping) and not self._is_due(preset.validate_every, learner.step):
                    self.save()
            if stopping:
                log.warning(
                    "%s: saved at step %d; `hrm-rl train --resume --out %s` goes on.",
                    stop.name,
                    learner.step,
                    shlex.quote(str(self.run.path)),
                )
        return validation

    def begin(self) -> tuple[Obs, Info]:
        """The observation and info that the next step starts from."""
        seeds = [self.seed + row for row in self.ranks.numbers(self.preset.batch_size).tolist()]
        return self.envs.reset(seed=seeds) if self.learner.step == 0 else self.envs.current()

    def step(self, obs: Obs, info: Info) -> tuple[Update, Obs, Info]:
        """Act and learn once; what was learned, and the next observation and info."""
        self.envs.source = self.data.source_at(self.learner.step)
        out, action = self.learner.act(obs)
        next_obs, _, terminated, _, next_info = self.envs.step(action)
        update = self.learner.learn(out, obs, info["labels"], terminated, next_info)
        if self.average:
            self.average.update()
        return update, next_obs, next_info

    @contextlib.contextmanager
    def _reporting(self, progress: bool) -> Iterator[Report]:
        """A report that goes on from the last one."""
        options: Any = {"graphs": self.graphs, "bar": progress, "track": self.track}
        self._report = report = Report(self.preset, self.compute, self.run, self.learner, **options)
        if self._report_state is not None:
            report.load_state_dict(self._report_state)
        self._saved_at = time.monotonic()
        try:
            yield report
        finally:
            self._report, self._report_state = None, report.state_dict()
            report.close()

    def _keep_pace(self, report: Report, seconds: float) -> None:
        """Compute otherwise from now on, if a step's time shows that the machine has become crowded."""
        again = self.pace.add(seconds) if self.pace else None
        if again is not None:
            self.compute = again
            again.apply()
            self.run.store(self.preset, again)
            report.log.show(self.learner.step, {"time/threads": again.threads or 0})

    def _is_due(self, every: int, step: int) -> bool:
        return step % every == 0 or step == self.preset.max_steps

    def _agree(self, stop: Stop) -> tuple[bool, bool]:
        """Whether the last checkpoint is `checkpoint_minutes` old, and whether a stop signal came; on any
        rank."""
        minutes = self.preset.checkpoint_minutes
        old = 0 < minutes <= (time.monotonic() - self._saved_at) / 60
        saving, stop.number = self.ranks.largest(old, stop.number)
        return bool(saving), stop.requested

    def _lacks_validation(self) -> bool:
        """Whether the run was stopped while it validated this step."""
        step = self.learner.step
        if step == 0 or not self._is_due(self.preset.validate_every, step):
            return False
        made = self.ranks.first and any("eval/count" in x for x in self.run.metrics() if x["step"] == step)
        return not any(self.ranks.largest(made))

    def _checkpoint(self, report: Report, stop: Stop) -> dict[str, Any]:
        """Validate, report and save; returns the validation's figures, none if a stop signal came."""
        report.refuse_nan(self.model, weights=True)
        model = self.evaluated_model  # once: with sharding it is gathered

        def figures() -> tuple[dict[str, Any], TraceBank]:
            return self.validate(model), watch(model, self.data, self.rows, self.ranks)

        # Ranks validate together, so one alone does not leave.
        found = stop.attempt(figures) if self.ranks.count == 1 else figures()
        if found is not None:
            self._write_validation(report, *found)
        self.save(model)
        return found[0] if found else {}

    def _write_validation(self, report: Report, validation: dict[str, Any], bank: TraceBank) -> None:
        step, learns_q = self.learner.step, not self.preset.learner.stopping.whole_episodes
        report.write_validation(step, validation)
        report.log.show(step, segment_figures(bank, learns_q=learns_q))
        write_boards(report.log, step, bank, self.rule, self.data.picture)

    def validate(self, model: ReasoningModel | None = None) -> dict[str, Any]:
        """Figures of the validation puzzles by `model`, by default the evaluated one, halting by the run's
        rule; `scores_apart` if some were learned from."""
        result = evaluate(
            model or self.evaluated_model,
            self.data.validation,
            self.rule,
            batch_size=self.rows,
            validator=self.data.validator,
            graphs=self.graphs,
            ranks=self.ranks,
        )
        figures = result.summary()
        # Validation classes are held out; custom puzzles and the run of --init may have repeated some.
        apart = scores_apart(result.correct, self._learned)
        if not apart["learned_count"]:
            return figures
        return figures | {name: value for name, value in apart.items() if value is not None}

    @cached_property
    def _learned(self) -> NDArray[np.bool_]:
        """Which validation puzzles are learned from too, bool [N]."""
        keys = self.run.learned()
        keys = self.data.learned() if keys is None else keys
        return np.isin(puzzle_keys(self.data.kind, self.data.validation), keys)

    def save(self, model: ReasoningModel | None = None) -> None:
        """A checkpoint of everything that the next step and the next line of the log depend on; `model` is
        the evaluated one, if the caller has it already.

        Raises FloatingPointError, and saves nothing, if weights or optimizer hold NaN or infinite values.
        """
        report = self._report
        if report is not None:
            report.refuse_nan(self.model, weights=True)
            report.log.sync()
        state = {
            "learner": self.learner.state_dict(),
            "envs": self.ranks.whole_state(self.envs.state_dict()),
            "seed": self.seed,
            "puzzles": self.data.fingerprint,
            "report": self._report_state if report is None else report.state_dict(),
        }
        if self.average:
            state["weights"] = gathered(self.model.state_dict())  # else they are the model's
        self.run.save(self.learner.step, model or self.evaluated_model, state, self.preset.keep)
        self._saved_at = time.monotonic()

    def restore(self) -> None:
        """Go on from the folder's newest checkpoint."""
        state, saved = self.run.load_state()
        if state.get("puzzles") not in (None, self.data.fingerprint):  # None in checkpoints of before
            raise ValueError(
                f"{self.preset.data.file or 'the generator'} gives other puzzles, answers or another order "
                f"than {self.run.latest()} was made with. Restore it, or start another run: --init "
                f"{self.run.path}"
            )
        try:
            load(self.model, state["weights"] if self.average else saved)
            self.learner.load_state_dict(state["learner"])
            self.envs.load_state_dict(self.ranks.own_state(state["envs"]))
            self.seed = state["seed"]
            self._report_state = state.get("report")
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{self.run.latest()} does not fit this run: {reason}") from None
        if self.average:
            load(self.average.model, saved)
