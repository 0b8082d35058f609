"""Where the figures and boards of a run are shown: TensorBoard, and on request Weights & Biases or Trackio.

A tracker of your own is a class that takes a `Tracked` and has `Tracker`'s methods; enter it in `TRACKERS`
before training: `TRACKERS["mine"] = Mine`, `hrm_rl.train(..., track=["mine"])`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.messages import did_you_mean, pip_install
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.appended import Board
from hrm_rl.training.report.cards import write_settings


class Tracked(NamedTuple):
    """What a tracker learns of a run as it begins."""

    folder: Path
    settings: tuple[Preset, Compute] | None
    resumed_at: int | None
    """The step of the checkpoint that a resumed run goes on from."""


class Tracker(Protocol):
    """What a run calls. Steps rise, but a resumed run repeats those after its checkpoint."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None: ...
    def histogram(self, step: int, name: str, values: Tensor) -> None: ...
    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run folder."""

    def __init__(self, run: Tracked) -> None:
        purge = None if run.resumed_at is None else run.resumed_at + 1
        self._board = Board(str(run.folder), purge_step=purge)
        if run.settings is not None:
            write_settings(self._board, *run.settings)
        self.flush, self.close = self._board.flush, self._board.close

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def histogram(self, step: int, name: str, values: Tensor) -> None:
        self._board.add_histogram(name, values, step)

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        self._board.add_image(name, array, step, dataformats="HWC")


class Service:
    """A package with the interface of Weights & Biases: init, log, Image, finish.

    A run is named by its folder, and its project is $HRM_PROJECT or hrm_rl. A resumed run is a second one of
    the same name, from its checkpoint on.
    """

    def __init__(self, package: str, run: Tracked) -> None:
        try:
            self._service = service = import_module(package)
        except ImportError:
            raise ValueError(f"it is not installed: {pip_install(package)}") from None
        mode = os.environ.get("WANDB_MODE", "online")
        if package == "wandb" and mode == "online" and not service.login(prompt=False):
            raise ValueError("not logged in: run `wandb login`, or set WANDB_MODE=offline")
        options: dict[str, Any] = {"dir": str(run.folder)} if package == "wandb" else {}
        if run.settings is not None:
            preset, compute = run.settings
            options["config"] = preset.to_dict() | {"compute": vars(compute)}
        project = os.environ.get("HRM_PROJECT", "hrm_rl")
        with redirect_stdout(sys.stderr):  # stdout is for results
            service.init(project=project, name=run.folder.resolve().name, **options)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        self._service.log(dict(figures), step=step)

    def histogram(self, step: int, name: str, values: Tensor) -> None:
        if hasattr(self._service, "Histogram"):
            self._service.log({name: self._service.Histogram(values.tolist())}, step=step)

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        self._service.log({name: self._service.Image(array)}, step=step)

    def flush(self) -> None:
        """These packages send by themselves."""

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._service.finish()


TRACKERS: dict[str, Callable[[Tracked], Tracker]] = {
    "TensorBoard": TensorBoard,
    "wandb": lambda run: Service("wandb", run),
    "trackio": lambda run: Service("trackio", run),
}
"""The trackers by name; TensorBoard is always on."""


def check_trackers(names: Iterable[str]) -> tuple[str, ...]:
    """The names. Raises ValueError for one that is not in `TRACKERS`."""
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in TRACKERS:
            near = did_you_mean(name, TRACKERS)
            raise ValueError(f"unknown tracker {name!r}; {near and near + ' '}known: {', '.join(TRACKERS)}")
    return tuple(dict.fromkeys(name for name in names if name != "TensorBoard"))
