"""Comparing stopping rules on runs, which are recorded first, or on recorded banks."""

import dataclasses
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_rl.analysis.compare import compare as compare_cases
from hrm_rl.analysis.compare.cases import Case, check_shapes, make_case
from hrm_rl.analysis.compare.records import Comparison, Measured, PolicyRow, check_report_folder
from hrm_rl.analysis.compare.settings import DEFAULT_POLICIES, Settings
from hrm_rl.analysis.compare.trials import Policy, policy_name, rules_by_name
from hrm_rl.halting import HaltingRule, TraceBank, parse_rule, puzzles_hash
from hrm_rl.halting.rules.select import SELECTORS
from hrm_rl.messages import as_path
from hrm_rl.puzzles.pool import PuzzleArrays, concatenate
from hrm_rl.settings import check_counts

if TYPE_CHECKING:
    from hrm_rl.training.machine.threads import Threads
    from hrm_rl.training.open_run import Trained

_log = logging.getLogger(__name__)

Source = str | os.PathLike[str] | TraceBank
"""A run folder, a Hub id, a bank's file, or a bank."""


def compare(
    runs_or_banks: Source | Sequence[Source],
    policies: Policy | Sequence[Policy] = DEFAULT_POLICIES,
    *,
    folder: str | os.PathLike[str] | None = None,
    puzzles: int | None = None,
    max_segments: int | None = None,
    cost: float = Settings.cost,
    costs: Sequence[float] = Settings.costs,
    draws: int = Settings.draws,
    seed: int = Settings.seed,
    baseline: Policy | None = None,
    allow_mismatch: bool = False,
    data: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str | None = None,
    threads: "Threads" = None,
    progress: bool = False,
    seconds: bool = False,
) -> Comparison:
    """Compare stopping rules on the same puzzles: accuracy against segments, with 95 % intervals.

        comparison = hrm_rl.compare("runs/quickstart", ["q", "margin:auto", "oracle"])
        comparison["margin:auto"].adaptive_gain["0.01"]

    Validation puzzles choose thresholds, test puzzles judge. Several runs (training seeds) are pooled.

    Args:
        runs_or_banks: one or several runs (folder or Hub id), banks, or files of banks.
        policies: one or several specs, rules (any `rule(features) -> bool [B]`), or subclasses of
            ThresholdRule. NAME:auto and the threshold of a class are chosen on validation puzzles; LIMIT is
            the number of segments.
        folder: keeps the recordings of runs, which are used again, and learned rules; by default nothing
            is kept.
        puzzles: puzzles of each split; by default 1000 of a run, all of a bank.
        max_segments: the limit; by default a run's halt_max_steps, all of a bank.
        cost: price of a segment, in correct answers, at which rules are chosen and tested.
        costs: prices at which the adaptive gain is given, each with rules chosen at that price.
        draws: bootstrap draws.
        seed: of a run's generated puzzles, of the bootstrap, and of rules that are learned.
        baseline: the policy that the others are tested against; by default the rule that all runs learned,
            or else q.
        allow_mismatch: judge learned rules given as files on other models than they were fitted on.
        data: CSV or dataset folder for runs; by default generated puzzles.
        device: for recording; see `open_trained`.
        dtype: for recording; see `open_trained`.
        threads: for recording; see `open_trained`.
        progress: show it on stderr while recording (`hrm_rl.evaluation.progress`).
        seconds: measure seconds a puzzle of every rule live: alone, and with slot refill. Needs runs and
            `folder`.

    Raises:
        ValueError: a setting out of range, a rule that cannot be parsed or judged, runs that cannot be
            pooled, a kept recording of another model, or `seconds` of banks.
        FileNotFoundError: a run or bank that does not exist.
    """
    given_counts = {"puzzles": puzzles, "max_segments": max_segments}
    check_counts(**{name: value for name, value in given_counts.items() if value is not None})
    if not isinstance(costs, Iterable):
        raise ValueError(f"costs must be several numbers, got {costs!r}")
    several = (policies,) if isinstance(policies, str) or callable(policies) else policies
    all_policies = (*several, *(() if baseline is None else (baseline,)))
    names, rules = [policy_name(policy) for policy in all_policies], rules_by_name(all_policies)
    base = None if baseline is None else names[-1]
    chosen = Settings(tuple(names[: len(several)]), cost, tuple(costs), draws, seed, base, allow_mismatch)
    kept = None if folder is None else as_path("folder", folder)
    data = None if data is None else as_path("data", data)
    if kept is not None:
        _check_folder(kept)
    one = not isinstance(runs_or_banks, Sequence) or isinstance(runs_or_banks, str)
    given: list[Source] = [runs_or_banks] if one else list(runs_or_banks)  # type: ignore
    for source in given:
        if not isinstance(source, str | os.PathLike | TraceBank):
            raise ValueError(
                f"give folders of runs, banks or their files, got {type(source).__name__}; "
                "hrm_rl.record makes a bank of a model"
            )
    runs = [source for source in given if not (isinstance(source, TraceBank) or is_bank(source))]
    refuse_selectors(names, runs)
    if seconds and (kept is None or len(runs) < len(given)):
        raise ValueError("seconds are measured live: give runs instead of banks, and a folder for the rules")
    recording = {"data": data, "dtype": dtype, "threads": threads, "device": device}
    if not runs:
        _refuse_recording_options(recording)
    labels = source_names(given)
    start = time.perf_counter()

    opened: list[Any] = []
    for source in given:
        if isinstance(source, TraceBank) or is_bank(source):
            opened.append(source if isinstance(source, TraceBank) else TraceBank.load(source))
        else:  # banks need none of this, which takes as long to load as a comparison
            from hrm_rl.training.open_run import open_trained

            opened.append(open_trained(source, device, dtype, threads))
    check_shapes([(name, *_shape(one, max_segments)) for name, one in zip(labels, opened, strict=True)])

    def recorded(one: Any, name: str, source: Any) -> TraceBank:
        if isinstance(one, TraceBank):
            return one
        from hrm_rl.training.pools import pools

        by_split = pools(one, data=data, puzzles=puzzles, seed=chosen.seed)
        return _recording(one, by_split, max_segments, _file(source, name, kept), progress)

    cases = [
        make_case(name, recorded(one, name, source), max_segments=max_segments, puzzles=puzzles)
        for one, name, source in zip(opened, labels, given, strict=True)
    ]
    opening = time.perf_counter() - start
    found = compare_cases(cases, chosen, kept and kept / "rules", rules)
    banks = [
        bank
        if isinstance(source, TraceBank)
        else dataclasses.replace(bank, given=str(source), file=_file(source, bank.name, kept))
        for bank, source in zip(found.banks, given, strict=True)
    ]
    if seconds:
        found = dataclasses.replace(found, policies=_measured(found, opened, cases, rules))
    return dataclasses.replace(found, banks=banks, seconds={**found.seconds, "opening": opening})


def _shape(opened: Any, max_segments: int | None) -> tuple[int, int]:
    """Segments and cells a puzzle of a bank, or of an opened run once it is recorded."""
    if isinstance(opened, TraceBank):
        return min(opened.num_segments, max_segments or opened.num_segments), opened.inputs.shape[1]
    config = opened.model.config
    return max_segments or config.halt_max_steps, config.seq_len


def refuse_selectors(policies: Iterable[str], runs: Sequence[Any]) -> None:
    """Raise ValueError if a policy selects among trajectories, and there are runs to record."""
    for name in policies:
        if runs and name.startswith(tuple(f"{kind}(" for kind in SELECTORS)):
            raise ValueError(
                f"rule {name!r} selects among trajectories, and a run is recorded with one a puzzle; "
                f"record several with `hrm-rl trace {runs[0]} --out BANK --width 8 --trajectories start`, "
                "and compare BANK"
            )


def _measured(
    found: Comparison, runs: Sequence["Trained"], cases: Sequence[Case], rules: Mapping[str, HaltingRule]
) -> list[PolicyRow]:
    """The rows with seconds a puzzle, a mean over runs: of 32 test puzzles alone, of all with slot refill."""
    from hrm_rl.evaluation import evaluate

    def seconds(row: PolicyRow, puzzles: slice, batch: int) -> float:
        each = []
        for spec, run, case in zip(row.spec, runs, cases, strict=True):
            some, rule = case.test.take(puzzles).puzzles, rules.get(row.policy) or parse_rule(spec)
            answered = evaluate(run.model, some, rule, max_segments=case.limit, batch_size=batch)
            each.append(answered.seconds / len(some))
        return sum(each) / len(each)

    rows = []
    for row in found.policies:
        if not row.hindsight:
            _log.info("Measuring seconds of %s.", row.policy)
            alone, refilled = seconds(row, slice(32), 1), seconds(row, slice(None), 256)
            row = dataclasses.replace(row, measured=Measured(alone, refilled))
        rows.append(row)
    return rows


def _refuse_recording_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for puzzles, warn of other options that banks, which are recorded, leave unread."""
    if options["data"] is not None:
        raise ValueError(f"data {options['data']} is for runs: a bank holds the puzzles it was recorded on")
    unread = [name for name, value in options.items() if value not in (None, "auto")]
    if unread:
        _log.warning("Banks are recorded already, so these have no effect: %s.", ", ".join(unread))


def is_bank(source: str | os.PathLike[str]) -> bool:
    """True if a path names a bank's file; otherwise it is a run."""
    return Path(source).is_file() or Path(source).suffix == ".safetensors"


def _file(source: str | os.PathLike[str], name: str, folder: Path | None) -> str | None:
    """The file of a bank, or the one that keeps a run's recording; None if it is not kept."""
    if is_bank(source):
        return str(source)
    return None if folder is None else str(folder / f"bank-{name}.safetensors")


def _recording(
    trained: "Trained",
    chosen: Mapping[str, PuzzleArrays],
    max_segments: int | None,
    file: str | None,
    progress: bool,
) -> TraceBank:
    """The recording kept in `file` if it is of this model and these puzzles; else a new one, kept there.

    Raises ValueError if the file records another model.
    """
    from hrm_rl.model.files.fingerprint import model_hash
    from hrm_rl.training.open_run import record_run

    config = trained.model.config
    limit = max_segments or config.halt_max_steps
    if file is not None and Path(file).is_file():
        kept, found = TraceBank.load(file), model_hash(trained.model)
        header, puzzles = kept.header, concatenate(list(chosen.values()))
        if header.model_hash != found:
            raise ValueError(
                f"{file} records another model ({header.model_hash[:12]}) than {trained.path} "
                f"holds ({found[:12]}); remove it, or choose another folder with --out"
            )
        wanted = limit, config.forward_dtype, puzzles_hash(puzzles.inputs, puzzles.labels)
        if (kept.num_segments, header.dtype, header.puzzles_hash) == wanted:
            _log.info("Using %s, recorded before.", file)
            return kept
    bank = record_run(trained, chosen, limit, progress=progress)
    if file is not None:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        bank.save(file)
    return bank


def _check_folder(folder: Path) -> None:
    if set(str(folder)) & set("(),"):
        raise ValueError(
            f"--out {folder}: rule specs name files in this folder, so its path must contain no comma "
            "and no parenthesis"
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file; name a folder")
    check_report_folder(folder)


def source_names(given: Sequence[Source]) -> list[str]:
    """Short and distinct: the last part of each path, or as many parts as it takes."""
    if not given:
        raise ValueError("give a run or a bank, or several")
    paths = [
        Path(f"bank{number}") if isinstance(source, TraceBank) else Path(source)
        for number, source in enumerate(given)
    ]
    for number, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise ValueError(f"{path} is given twice; give each run or bank once")
    plain = [path.with_suffix("") if path.suffix == ".safetensors" else path for path in paths]
    for parts in range(1, max(1, *(len(path.parts) for path in plain)) + 1):
        names = ["-".join(path.parts[-parts:]).strip("/.-") for path in plain]
        if len(set(names)) == len(names):
            break
    return [re.sub(r"[^\w.-]+", "-", name) or "run" for name in names]
