"""Averages over log intervals, written to JSON lines and trackers; tensors are read once an interval."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.agents.learning.update import Update
from hrm_rl.files import write_text
from hrm_rl.settings import check_integers, check_interval, restore
from hrm_rl.stopwatch import rate
from hrm_rl.tensors import stored_tensor
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.appended import AppendedFile
from hrm_rl.training.report.cards import constant_figures
from hrm_rl.training.report.trackers import TRACKERS, Tracked, Tracker
from hrm_rl.training.run_folder import RunFolder

_log = logging.getLogger(__name__)

_MOST_EPISODES = 1 << 24  # of an interval, beyond which a histogram takes all memory
_SUMS = ("steps", "names", "means", "broken", "judged", "histogram")


@dataclass(frozen=True)
class _Interval:
    """The plain values of a stored interval."""

    steps: int
    names: tuple[str, ...]
    seconds: float

    def __post_init__(self) -> None:
        check_integers(self, 0, "steps")
        check_interval(self, "(-inf, inf)", "seconds")


class IntervalMetrics:
    """Sums a learner's metrics on the device until `take`."""

    def __init__(self, halt_max_steps: int, device: torch.device) -> None:
        self.halt_max_steps = halt_max_steps
        self.device = device
        self._clear()

    def _clear(self) -> None:
        self.steps = 0
        self.names: tuple[str, ...] = ()
        self.means = torch.zeros(0, device=self.device)
        self.broken = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.judged = torch.zeros(4, device=self.device)
        self.histogram = torch.zeros(self.halt_max_steps + 1, device=self.device)
        self.start = time.perf_counter()

    def add(self, update: Update, step: int = 1) -> None:
        """Add the update of step `step`; only rows whose episode ended count, as in the reference."""
        losses, rows = update.losses, update.rows
        if self.steps == 0:
            self.names = tuple(losses)
            self.means = torch.zeros(len(losses), device=self.device)
            self.broken = torch.zeros(len(losses), dtype=torch.int64, device=self.device)
        self.steps += 1
        means = torch.stack(list(losses.values()))
        self.means += means
        self.broken = torch.where((self.broken == 0) & ~means.isfinite(), step, self.broken)
        ended = rows.ended.float()
        agrees = (rows.q_halt >= 0) == rows.correct
        self.judged += torch.stack(
            [
                ended.sum(),
                (ended * rows.correct).sum(),
                (ended * rows.cell_accuracy).sum(),
                (ended * agrees).sum(),
            ]
        )
        self.histogram.scatter_add_(0, rows.segments, ended)

    def first_broken(self) -> tuple[str, int] | None:
        """The first loss that was not finite and its step; None if all were finite."""
        found = [(s, i) for i, s in enumerate(self.broken.tolist()) if s and self.names[i] != "loss"]
        if not found:
            return None
        step, index = min(found)
        return self.names[index], step

    def take(self) -> tuple[dict[str, float], Tensor]:
        """The interval's figures and its histogram of segments (on the CPU); starts the next interval."""
        values = (self.means / max(1, self.steps)).tolist()
        count, *sums = self.judged.tolist()
        histogram = self.histogram.cpu()
        seconds = time.perf_counter() - self.start
        losses = dict(zip(self.names, values, strict=True))
        if (skipped := losses.pop("skipped", None)) is not None:
            # Those steps added 0 to the other losses.
            losses = {name: value / (1 - skipped) for name, value in losses.items() if skipped < 1}
            losses["skipped"] = skipped
        figures = {f"train/{name}": value for name, value in losses.items()}
        figures["rollout/episodes"] = count
        if count:
            names = ("exact_accuracy", "cell_accuracy", "q_halt_accuracy")
            for name, total in zip(names, sums, strict=True):
                figures[f"rollout/{name}"] = total / count
            segments = torch.arange(len(histogram), dtype=torch.float32)
            figures["rollout/mean_segments"] = float((segments * histogram).sum() / count)
        # A clock may stand still, or go back.
        figures["time/steps_per_second"] = rate(self.steps, seconds)
        self._clear()
        return figures, histogram

    def state_dict(self) -> dict[str, Any]:
        """The interval so far."""
        seconds = time.perf_counter() - self.start
        return {name: getattr(self, name) for name in _SUMS} | {"seconds": seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the interval of a `state_dict`.

        Raises SettingError or ValueError if it is not one of this number of segments.
        """
        plain = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        stored = restore(_Interval, plain, "metrics")
        count = torch.zeros(len(stored.names), device=self.device)
        like = {"means": count, "broken": count.long(), "judged": self.judged, "histogram": self.histogram}
        sums = {name: stored_tensor(name, state.get(name), tensor) for name, tensor in like.items()}
        if (sums["histogram"] < 0).any() or not sums["histogram"].sum() < _MOST_EPISODES:
            raise ValueError("histogram must hold counts of episodes")
        for name, tensor in sums.items():
            setattr(self, name, tensor)
        self.steps, self.names = stored.steps, stored.names
        self.start = time.perf_counter() - stored.seconds


class MetricsLog:
    """Writes figures to metrics.jsonl and to trackers, with SB3's prefixes: rollout/ train/ eval/ time/.

    Neither ends the training: what cannot be written to a file waits (`AppendedFile`), and a tracker is left
    out, with a warning, once it fails otherwise.
    """

    def __init__(
        self,
        run: RunFolder,
        first_step: int = 0,
        *,
        settings: tuple[Preset, Compute] | None = None,
        track: Iterable[str] = (),
    ) -> None:
        # A resumed run repeats the steps after its checkpoint, so both logs drop them.
        again = run.metrics_file.exists()
        if again:
            kept = [json.dumps(line) + "\n" for line in run.metrics() if line["step"] <= first_step]
            write_text(run.metrics_file, "".join(kept))
        self._lock, self._lines = run.lock, AppendedFile(run.metrics_file)
        self._constant = frozenset() if settings is None else constant_figures(settings[0])
        self._trackers: dict[str, Tracker] = {}
        tracked = Tracked(run.path, settings, first_step if again else None)
        for name in ("TensorBoard", *track):
            with self._left_out_if_it_fails(name):
                self._trackers[name] = TRACKERS[name](tracked)

    def write(self, step: int, figures: Mapping[str, Any], histogram: Tensor | None = None) -> None:
        """Write a line to the log, and its figures to the trackers.

        Raises BlockingIOError if another process took the run's folder.
        """
        self._lock.check()
        self.show(step, figures)
        line: dict[str, Any] = {"step": step, **figures}
        if histogram is not None and histogram.sum() > 0:
            counts = histogram.long()
            segments = torch.arange(len(counts)).repeat_interleave(counts)
            if "rollout/segments" not in self._constant:
                self._track(lambda tracker: tracker.histogram(step, "rollout/segments", segments))
            line["rollout/segments"] = counts[1:].tolist()
        self._lines.write(f"{json.dumps(line)}\n".encode())
        self._lines.flush()
        self._track(lambda tracker: tracker.flush())

    def show(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures that may change to the trackers only."""
        shown = {name: value for name, value in figures.items() if name not in self._constant}
        self._track(lambda tracker: tracker.figures(step, shown))

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        """Write an RGB picture, uint8 [H, W, 3], to the trackers only."""
        self._track(lambda tracker: tracker.image(step, name, array))

    def sync(self) -> None:
        """Wait until all lines are on the disk. Raises as `write`."""
        self._lock.check()
        self._lines.flush(through=True)

    def close(self) -> None:
        """Write what waits, unless another process has the folder."""
        if self._lock.lost:
            return
        self._lines.flush()
        self._track(lambda tracker: tracker.close())

    def _track(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            with self._left_out_if_it_fails(name):
                call(tracker)

    @contextmanager
    def _left_out_if_it_fails(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            _log.warning("%s failed (%s); training goes on without it.", name, error or type(error))
            self._trackers.pop(name, None)


class NoLog(MetricsLog):
    """The log of the ranks that do not write one."""

    def __init__(self) -> None:
        pass

    def write(self, *_: Any) -> None:
        pass

    show = image = sync = close = write  # type: ignore[assignment]
