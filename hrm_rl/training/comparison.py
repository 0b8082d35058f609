"""Comparing stopping rules on runs, which are recorded first, or on recorded banks."""

import dataclasses
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrm_rl.analysis.compare import compare as compare_cases
from hrm_rl.analysis.compare.cases import make_case
from hrm_rl.analysis.compare.records import Comparison
from hrm_rl.analysis.compare.settings import DEFAULT_COSTS, DEFAULT_POLICIES, Settings
from hrm_rl.analysis.compare.trials import check_policy
from hrm_rl.halting import TraceBank, puzzles_hash
from hrm_rl.puzzles.pool import PuzzleArrays, concatenate

_log = logging.getLogger(__name__)

Source = str | os.PathLike[str] | TraceBank
"""A run folder, a Hub id, a bank's file, or a bank."""


def compare(
    runs_or_banks: Source | Sequence[Source],
    policies: Sequence[str] = DEFAULT_POLICIES,
    *,
    folder: str | os.PathLike[str] | None = None,
    puzzles: int | None = None,
    max_segments: int | None = None,
    cost: float = 0.01,
    costs: Sequence[float] = DEFAULT_COSTS,
    draws: int = 10_000,
    seed: int = 0,
    baseline: str = "q",
    allow_mismatch: bool = False,
    data: Path | None = None,
    device: str = "auto",
    dtype: str | None = None,
    progress: bool = False,
) -> Comparison:
    """Compare stopping rules on the same puzzles: accuracy against segments, with 95 % intervals.

        comparison = hrm_rl.compare("runs/quickstart", ["q", "margin:auto", "oracle"])
        comparison["margin:auto"].adaptive_gain["0.01"]

    Validation puzzles choose thresholds, test puzzles judge. Several runs (training seeds) are pooled.

    Args:
        runs_or_banks: one or several runs (folder or Hub id), banks, or files of banks.
        policies: specs; NAME:auto is chosen on validation puzzles, LIMIT is the number of segments.
        folder: keeps the recordings of runs, which are used again, and learned rules; by default nothing
            is kept.
        puzzles: puzzles of each split; by default 1000 of a run, all of a bank.
        max_segments: the limit; by default a run's halt_max_steps, all of a bank.
        cost: price of a segment, in correct answers, at which rules are chosen and tested.
        costs: prices at which the adaptive gain is given, each with rules chosen at that price.
        draws: bootstrap draws.
        seed: of a run's generated puzzles, of the bootstrap, and of rules that are learned.
        baseline: the policy that the others are tested against.
        allow_mismatch: judge learned rules given as files on other models than they were fitted on.
        data: CSV or dataset folder for runs; by default generated puzzles.
        device, dtype: for recording; see `open_trained`.
        progress: draw a bar on stderr while recording.

    Raises:
        ValueError: a setting out of range, a rule that cannot be parsed or judged, runs that cannot be
            pooled, or a kept recording of another model.
        FileNotFoundError: a run or bank that does not exist.
    """
    for name, value in (("puzzles", puzzles), ("max_segments", max_segments)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    settings = Settings(tuple(policies), cost, tuple(costs), draws, seed, baseline, allow_mismatch)
    for policy in (*settings.policies, settings.baseline):
        check_policy(policy)
    kept = None if folder is None else Path(folder)
    if kept is not None:
        _check_folder(kept)
    recorder = _Recorder(kept, puzzles, max_segments, seed, data, device, dtype, progress)
    given = _as_list(runs_or_banks)
    names = _names(given)
    start = time.perf_counter()
    recordings = [recorder.open(source, name) for source, name in zip(given, names, strict=True)]
    cases = [
        make_case(name, recording.bank, max_segments=max_segments, puzzles=puzzles)
        for name, recording in zip(names, recordings, strict=True)
    ]
    opening = time.perf_counter() - start
    found = compare_cases(cases, settings, kept and kept / "rules")
    banks = [
        dataclasses.replace(bank, given=recording.given, file=recording.file)
        for bank, recording in zip(found.banks, recordings, strict=True)
    ]
    return dataclasses.replace(found, banks=banks, seconds={**found.seconds, "opening": opening})


@dataclass(frozen=True)
class _Recording:
    """A bank and its origin."""

    bank: TraceBank
    given: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class _Recorder:
    """Opens banks, and records runs unless a recording of the same model and puzzles is kept."""

    folder: Path | None
    puzzles: int | None
    max_segments: int | None
    seed: int
    data: Path | None
    device: str
    dtype: str | None
    progress: bool

    def open(self, source: Source, name: str) -> _Recording:
        if isinstance(source, TraceBank):
            return _Recording(source)
        path = Path(source)
        if path.is_file() or path.suffix == ".safetensors":
            return _Recording(TraceBank.load(path), str(path), str(path))
        file = None if self.folder is None else self.folder / f"bank-{name}.safetensors"
        bank = self._of_run(path, file)
        return _Recording(bank, str(path), file and str(file))

    def _of_run(self, path: Path, file: Path | None) -> TraceBank:
        from hrm_rl.model.files.fingerprint import model_hash
        from hrm_rl.training.open_run import open_trained, record_run
        from hrm_rl.training.pools import pools

        trained = open_trained(path, self.device, self.dtype)
        chosen = pools(trained, data=self.data, puzzles=self.puzzles, seed=self.seed)
        limit = self.max_segments or trained.model.config.halt_max_steps
        if file is not None and file.is_file():
            kept, found = TraceBank.load(file), model_hash(trained.model)
            if kept.header.model_hash != found:
                raise ValueError(
                    f"{file} records another model ({kept.header.model_hash[:12]}) than {path} holds "
                    f"({found[:12]}); remove it, or choose another folder with --out"
                )
            dtype = trained.model.config.forward_dtype
            if (kept.num_segments, kept.header.dtype) == (limit, dtype) and _holds(kept, chosen):
                _log.info("Using %s, recorded before.", file)
                return kept
        bank = record_run(trained, chosen, limit, progress=self.progress)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            bank.save(file)
        return bank


def _holds(bank: TraceBank, chosen: Mapping[str, PuzzleArrays]) -> bool:
    """Whether a bank is of these puzzles."""
    puzzles = concatenate(list(chosen.values()))
    return bank.header.puzzles_hash == puzzles_hash(puzzles.inputs, puzzles.labels)


def _check_folder(folder: Path) -> None:
    if set(str(folder)) & set("(),"):
        raise ValueError(
            f"--out {folder}: rule specs name files in this folder, so its path must contain no comma "
            "and no parenthesis"
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file; name a folder")


def _as_list(given: Source | Sequence[Source]) -> list[Source]:
    if isinstance(given, str | os.PathLike | TraceBank):
        return [given]
    if not given:
        raise ValueError("give a run or a bank, or several")
    return list(given)


def _names(given: Sequence[Source]) -> list[str]:
    """Short and distinct: the last part of each path, or as many parts as it takes."""
    paths = [
        Path(f"bank{number}") if isinstance(source, TraceBank) else Path(source)
        for number, source in enumerate(given)
    ]
    for number, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise ValueError(f"{path} is given twice; give each run or bank once")
    plain = [path.with_suffix("") if path.suffix == ".safetensors" else path for path in paths]
    for parts in range(1, max(len(path.parts) for path in plain) + 1):
        names = ["-".join(path.parts[-parts:]).strip("/.-") for path in plain]
        if len(set(names)) == len(names):
            break
    return [re.sub(r"[^\w.-]+", "-", name) or "run" for name in names]
