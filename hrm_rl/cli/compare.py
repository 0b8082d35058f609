"""`hrm-rl compare`."""

import importlib.util
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hrm_rl.analysis.compare.settings import DEFAULT_COSTS, DEFAULT_POLICIES, Settings
from hrm_rl.cli.output import Trained, open_trained, print_json, say
from hrm_rl.cli.trace import Trace

if TYPE_CHECKING:
    from hrm_rl.halting import TraceBank
    from hrm_rl.puzzles.pool import PuzzleArrays

WIDE = 250
"""Columns of a table that nobody looks at in a window."""


@dataclass(frozen=True)
class Compare:
    """Compare rules for stopping: accuracy against segments, with intervals, on the same puzzles.

    Validation puzzles choose thresholds, test puzzles judge. Several runs (training seeds) are pooled.
    Writes compare.json, compare.md, figures, what was recorded and what was learned into --out.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN|BANK ...")]
    """Runs (folder or Hub id), recorded first, or banks made by `hrm-rl trace`."""
    out: Path
    """Folder for the report. A run's recording is kept there and used again."""
    policies: tuple[str, ...] = DEFAULT_POLICIES
    """Rules, such as q, fixed:4, recall(q), lsm:FILE, module:Class. NAME:auto is chosen on validation
    puzzles: fixed confidence margin entropy stable residual kl q-halt lsm voc pqn sb3:dqn ...; LIMIT is
    the number of segments."""
    puzzles: int | None = None
    """How many of each split: of a run 1000, of a bank all, by default."""
    max_segments: int | None = None
    """Limit; of a run its halt_max_steps, of a bank all it has, by default."""
    cost: float = 0.01
    """Price of a segment, in right answers, at which rules are chosen and tested."""
    costs: tuple[float, ...] = DEFAULT_COSTS
    """Prices at which the adaptive gain is given, each with rules chosen at that price."""
    draws: int = 10_000
    """Bootstrap draws."""
    seed: int = 0
    """Which generated puzzles (of a run), the bootstrap, and what learns at random."""
    baseline: str = "q"
    """The policy that the others are tested against."""
    allow_mismatch: bool = False
    """Judge learned rules given as files on other models than they were fitted on."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) or dataset folder for runs. By default generated
    puzzles, or, of family own, the folder that each run learned from."""
    device: str = "auto"
    """For recording: cpu, cuda, mps; auto takes cuda where there is one."""
    dtype: str | None = None
    """float32, bfloat16, ...: what to compute in; by default what it was trained in."""
    json: bool = False
    """Print the report as one JSON object."""

    def run(self) -> None:
        from hrm_rl.analysis.compare import compare
        from hrm_rl.analysis.compare.cases import make_case

        start = time.perf_counter()
        settings = self._settings()
        self._check_out()
        names = _names(self.runs)
        files = [
            path if _is_bank(path) else self.out / f"bank-{name}.safetensors"
            for path, name in zip(self.runs, names, strict=True)
        ]
        cases = [
            make_case(
                name,
                self._open(path, file),
                max_segments=self.max_segments,
                puzzles=self.puzzles,
            )
            for path, file, name in zip(self.runs, files, names, strict=True)
        ]
        opened = time.perf_counter()
        report = compare(cases, settings, self.out / "rules")
        for bank, path, file in zip(report["banks"], self.runs, files, strict=True):
            bank |= {"given": str(path), "file": str(file)}
        compared = time.perf_counter()
        self.out.mkdir(parents=True, exist_ok=True)
        figures = self._draw(report)
        end = time.perf_counter()
        report["seconds"] |= {
            "opening": opened - start,
            "drawing": end - compared,
            "total": end - start,
        }
        files_written = {"json": "compare.json", "markdown": "compare.md"}
        report["files"] = {kind: str(self.out / name) for kind, name in files_written.items()}
        report["files"]["figures"] = [str(figure) for figure in figures]
        self._write(report)
        if self.json:
            print_json(report)
        else:
            _show(report)

    def _settings(self) -> Settings:
        """What is wrong with the command line is said before anything is recorded."""
        from hrm_rl.analysis.compare.trials import check_policy

        for name in ("puzzles", "max_segments"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
        settings = Settings(
            policies=self.policies,
            cost=self.cost,
            costs=self.costs,
            draws=self.draws,
            seed=self.seed,
            baseline=self.baseline,
            allow_mismatch=self.allow_mismatch,
        )
        for policy in (*settings.policies, settings.baseline):
            check_policy(policy)
        return settings

    def _check_out(self) -> None:
        if set(str(self.out)) & set("(),"):
            raise ValueError(
                f"--out {self.out}: specs name files in this folder, so its name may hold no comma and "
                "no parenthesis"
            )
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"--out {self.out} is a file; name a folder")

    def _open(self, path: Path, file: Path) -> "TraceBank":
        """A bank, or the recording of a run: the one in `file` if it is of this model and puzzles."""
        from hrm_rl.halting import TraceBank

        if path == file:
            return TraceBank.load(file)
        trained = open_trained(path, self.device, self.dtype)
        trace = Trace(
            path,
            file,
            puzzles=self.puzzles,
            max_segments=self.max_segments,
            seed=self.seed,
            data=self.data,
            json=self.json,
        )
        pools = trace.pools(trained)
        if file.is_file():
            kept = TraceBank.load(file)
            if _is_recording_of(kept, trained, pools, self.max_segments, path, file):
                say(f"Using {file}, recorded before.")
                return kept
        bank = trace.record(trained, pools)
        self.out.mkdir(parents=True, exist_ok=True)
        bank.save(file)
        return bank

    def _draw(self, report: dict[str, Any]) -> list[Path]:
        if importlib.util.find_spec("matplotlib") is None:
            say("No figures: they need matplotlib (pip install matplotlib).")
            return []
        from hrm_rl.analysis.compare.figures import draw_figures

        return draw_figures(report, self.out)

    def _write(self, report: dict[str, Any]) -> None:
        from hrm_rl.analysis.compare.table import markdown

        (self.out / "compare.json").write_text(json.dumps(report, indent=1) + "\n")
        (self.out / "compare.md").write_text(markdown(report))


def _is_bank(path: Path) -> bool:
    """Else it is a run: a folder, or a Hub id."""
    return path.is_file() or path.suffix == ".safetensors"


def _is_recording_of(
    bank: "TraceBank",
    trained: Trained,
    pools: "dict[str, PuzzleArrays]",
    max_segments: int | None,
    path: Path,
    file: Path,
) -> bool:
    """Whether a bank has these puzzles and enough segments, computed in the model's dtype. Raises ValueError
    if of another model."""
    from hrm_rl.halting import puzzles_hash
    from hrm_rl.model.files.fingerprint import model_hash
    from hrm_rl.puzzles.pool import concatenate

    found = model_hash(trained.model)
    if bank.header.model_hash != found:
        raise ValueError(
            f"{file} records another model ({bank.header.model_hash[:12]}) than {path} holds "
            f"({found[:12]}); remove it, or choose another --out"
        )
    puzzles = concatenate(list(pools.values()))
    limit = max_segments or trained.model.config.halt_max_steps
    return (
        bank.num_segments == limit
        and bank.header.dtype == trained.model.config.forward_dtype
        and bank.header.puzzles_hash == puzzles_hash(puzzles.inputs, puzzles.labels)
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Short and different: the last part of each path, as many parts as it takes."""
    if not paths:
        raise ValueError("give a run or a bank, or several")
    for number, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise ValueError(f"{path} is given twice; give each run or bank once")
    plain = [path.with_suffix("") if path.suffix == ".safetensors" else path for path in paths]
    for parts in range(1, max(len(path.parts) for path in plain) + 1):
        names = ["-".join(path.parts[-parts:]).strip("/.-") for path in plain]
        if len(set(names)) == len(names):
            break
    return [re.sub(r"[^\w.-]+", "-", name) or "run" for name in names]


def _show(report: dict[str, Any]) -> None:
    """The table, what it means, and where the rest is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from hrm_rl.analysis.compare.table import fitting, legend, resolved, table_cells, title

    header, rows = table_cells(report)
    window = Console().width if sys.stdout.isatty() else WIDE
    fit = fitting(header, rows, window)
    header, missing = header[:fit], header[fit:]
    table = Table(title=title(report), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.pad_edge, table.collapse_padding = False, True
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row[:fit])
    # Wider than any table, so that no cell is shortened.
    Console(width=max(window, WIDE), highlight=False).print(table)
    if missing:
        print(f"This window is too narrow for: {', '.join(missing)}. They are in compare.md.\n")
    for line in legend(report):
        print(line)
    print()
    width = max((len(name) for name, _ in resolved(report)), default=0)
    for name, spec in resolved(report):
        print(f"{name:{width}}  {spec}")
    files = report["files"]
    print(f"\nWritten: {' '.join([files['markdown'], files['json'], *files['figures']])}")
