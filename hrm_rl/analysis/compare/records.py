"""The typed records of a comparison. `Comparison.to_dict` is the object in compare.json."""

import dataclasses
import importlib.util
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.analysis.statistics.calibration import HaltCalibration
from hrm_rl.analysis.statistics.curves import Curve
from hrm_rl.analysis.statistics.selective import RiskCurve
from hrm_rl.files import begins_with, check_replaces, write_text
from hrm_rl.settings import read_json, reading

_log = logging.getLogger(__name__)

Interval = tuple[float, float]
"""Low and high end of a 95 % bootstrap interval; NaN if undefined."""
ByCost = Mapping[str, float]
"""A number at every price of a segment, keyed as "0.01"."""


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of a policy's figures."""

    exact_accuracy: Interval
    valid_accuracy: Interval
    mean_segments: Interval
    utility: Interval
    adaptive_gain: Mapping[str, Interval]


@dataclass(frozen=True, eq=False)
class PolicyCurve(Curve):
    """A swept rule, its concave hull, and the mean height of the hull."""

    hull_segments: NDArray[np.float64]
    hull_accuracy: NDArray[np.float64]
    area: float


@dataclass(frozen=True)
class MatchedCompute:
    """McNemar's test against the constant nearest in mean segments."""

    fixed: int
    only_policy_right: int
    only_fixed_right: int
    p_value: float | None
    """None for several runs, whose answers to one puzzle are not independent."""


@dataclass(frozen=True)
class GainOver:
    """The difference of two adaptive gains, with its paired interval."""

    mean: float
    ci95: Interval


@dataclass(frozen=True)
class WallClock:
    """Puzzles a second in three ways of serving; None for a batch that was not timed."""

    batch: int | None
    """Rows of `static` and `refilled`."""
    batch_1: float | None
    static: float | None
    refilled: float | None


@dataclass(frozen=True)
class Measured:
    """Seconds a puzzle, measured live."""

    batch_1: float
    refilled: float
    """In the batch of `WallClock`, where a row that stops takes the next puzzle."""


@dataclass(frozen=True)
class Selective:
    """A rule that declines to answer some puzzles."""

    coverage: float
    """Share of the puzzles that it answers."""
    risk: float
    """Share of its answers that are wrong; NaN without any."""
    ci95: Mapping[str, Interval]
    """Of coverage and risk."""
    curve: RiskCurve
    """All thresholds on the test puzzles; several runs by the mean of their curves."""


@dataclass(frozen=True)
class PolicyRow:
    """One policy, chosen at the headline's cost, on the test puzzles of all runs."""

    policy: str
    spec: list[str]
    """The rule that it became, one a run."""
    exact_accuracy: float
    valid_accuracy: float
    mean_segments: float
    utility: float
    """exact_accuracy - cost * mean_segments."""
    ci95: Intervals
    adaptive_gain: ByCost
    premature: float
    overthinking: float
    never_right: float
    wasted_segments: float
    spec_by_cost: Mapping[str, list[str]]
    chosen: bool
    """Something was chosen or fitted on validation puzzles."""
    hindsight: bool
    """It knows the answers: a bound, not a rule to use."""
    curve: PolicyCurve | None
    iso_accuracy_segments: Mapping[str, float | None]
    rank_correlation: float
    matched_compute: MatchedCompute
    gain_over_baseline: GainOver
    p_value: float | None
    """Of the return against the baseline's, Holm-adjusted; None for the baseline and for bounds."""
    wall_clock: WallClock
    held_out_accuracy: float | None = None
    """exact_accuracy without puzzles that a run learned from; None if there are none."""
    gflop: float | None = None
    """GFLOP a puzzle, the logits of every segment included; None if a bank does not know it."""
    selective: Selective | None = None
    """None of a rule that answers every puzzle."""
    measured: Measured | None = None
    """Of runs, if it was measured."""


@dataclass(frozen=True)
class DifficultyBin:
    """Puzzles of about the same difficulty."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class PolicyByDifficulty:
    """A policy in every bin."""

    policy: str
    mean_segments: list[float]
    exact_accuracy: list[float]


@dataclass(frozen=True)
class Difficulty:
    """Policies by difficulty of the puzzles."""

    by: str
    """rating, or cells to fill."""
    bins: list[DifficultyBin]
    policies: list[PolicyByDifficulty]


@dataclass(frozen=True)
class BankRecord:
    """One recording that was compared."""

    name: str
    model_hash: str
    puzzles_hash: str
    test_puzzles: int
    validation_puzzles: int
    max_segments: int
    preset: str | None
    step: int
    halt_max_steps: int
    trained_rule: str
    device: str
    dtype: str
    seconds_per_segment: Mapping[str, float]
    given: str | None = None
    """The run or bank that was named, if it was named by a path."""
    file: str | None = None
    """The bank's file, if it has one."""
    learned_test_puzzles: int | None = None
    """Test puzzles that the run learned from, if that is known."""
    cpu_share: float | None = None
    """Share of the timing in which the recording process ran; clearly below 1 on a crowded machine."""
    gflop_per_segment: Mapping[str, float] | None = None
    """As in the bank's header; None if that does not know it."""
    width: int | None = None
    """Trajectories a puzzle, of a bank that has several."""
    trajectories: str | None = None
    """How they differ."""


@dataclass(frozen=True)
class Comparison:
    """Stopping rules side by side on the same recorded puzzles. docs/compare.md explains each number."""

    policies: list[PolicyRow]
    best_fixed: Mapping[str, list[str]]
    """The best constant of each run, by cost."""
    adaptive_gain_undefined: Mapping[str, str]
    """The reason, at each cost without a gain."""
    calibration: HaltCalibration
    difficulty: Difficulty | None
    curves: Mapping[str, Curve]
    """fixed and oracle."""
    banks: list[BankRecord]
    settings: Settings
    """With LIMIT resolved, the baseline among the policies, and all costs."""
    max_segments: int
    shared_puzzles: bool
    """All runs were evaluated on the same puzzles, which the bootstrap draws together."""
    seconds: Mapping[str, float]

    def __getitem__(self, policy: str) -> PolicyRow:
        """The row of a policy. Raises KeyError with the policies there are."""
        for row in self.policies:
            if row.policy == policy:
                return row
        raise KeyError(f"{policy!r}; compared: {', '.join(row.policy for row in self.policies)}")

    def __iter__(self) -> Iterator[PolicyRow]:
        """The rows of the policies."""
        return iter(self.policies)

    def __str__(self) -> str:
        """The table of `hrm-rl compare` and the explanation of its columns."""
        from hrm_rl.analysis.compare.table import legend, text

        report = self.to_dict()
        return "\n".join((text(report), "", *legend(report)))

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON; a number that is not finite is None."""
        found = dataclasses.asdict(self)
        pooled = found["calibration"]["pooled"]
        summary = {name: pooled[name] for name in ("ece", "brier", "auroc")}
        found["calibration"] = summary | found["calibration"]
        for name in ("max_segments", "shared_puzzles"):
            found["settings"][name] = found.pop(name)
        for record, kind in ((found["banks"], BankRecord), (found["policies"], PolicyRow)):
            optional = [field.name for field in dataclasses.fields(kind) if field.default is None]
            for row in record:
                for name in optional:
                    if row[name] is None:
                        del row[name]
        plain: dict[str, Any] = _plain(found)
        return plain

    def save(
        self, folder: str | os.PathLike[str], beside: Sequence[str | os.PathLike[str]] = ()
    ) -> dict[str, Any]:
        """Write compare.json, compare.md and, if matplotlib is installed, figures into a folder.

        `beside` are folders of earlier reports, such as of other models, for accuracy_gflop.png.

        Returns the object in compare.json: `to_dict()`, the files written, and the seconds of drawing.
        Raises FileExistsError if a file there has one of these names and is not of an earlier report.
        """
        from hrm_rl.analysis.compare.table import markdown

        check_report_folder(folder)
        others = [read_reports(beside)] if beside else []
        folder, report, start = Path(folder), self.to_dict(), time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        figures = _draw(report, folder, *others)
        spent = report["seconds"]
        spent["drawing"] = time.perf_counter() - start
        spent["total"] = sum(spent.values())
        files = {"json": folder / "compare.json", "markdown": folder / "compare.md"}
        report["files"] = {name: str(file) for name, file in files.items()}
        report["files"]["figures"] = [str(figure) for figure in figures]
        write_text(files["json"], json.dumps(report, indent=1) + "\n")
        write_text(files["markdown"], markdown(report))
        return report


def check_report_folder(folder: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if `Comparison.save` would replace anything but an earlier report."""
    kind = "a report of hrm-rl compare"
    check_replaces(Path(folder) / "compare.json", kind, lambda file: b'"policies"' in file.read_bytes())
    check_replaces(Path(folder) / "compare.md", kind, begins_with(b"**"))


def read_reports(folders: Sequence[str | os.PathLike[str]]) -> dict[str, dict[str, Any]]:
    """The reports in folders of `hrm-rl compare`, by the folders' names, to be drawn beside another.

    Raises FileNotFoundError for a folder without one, ValueError for a damaged report or one without GFLOP.
    """
    found = {}
    for file in (Path(folder) / "compare.json" for folder in folders):
        if not file.is_file():
            raise FileNotFoundError(
                f"no report at {file}; `hrm-rl compare RUN --out {file.parent}` makes one"
            )
        report = read_json(file, "a report of hrm-rl compare")
        with reading(file, "a report to draw beside another"):
            if not all("gflop_per_segment" in bank for bank in report["banks"]):
                raise ValueError("its banks have no GFLOP; record them again with `hrm-rl trace`")
        found[file.parent.resolve().name] = report
    return found


def _draw(
    report: dict[str, Any], folder: Path, beside: Mapping[str, dict[str, Any]] | None = None
) -> list[Path]:
    if importlib.util.find_spec("matplotlib") is None:
        _log.info("No figures: they need matplotlib (pip install matplotlib).")
        return []
    from hrm_rl.analysis.compare.figures import draw_figures

    return draw_figures(report, folder, beside)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
