"""`hrm-rl compare`."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.cli.options import Long, OnDevice, check_counts
from hrm_rl.cli.output import show_log


@dataclass(frozen=True, kw_only=True)
class Compare(OnDevice, Long, Settings):
    """Compare stopping rules: accuracy against segments, with intervals, on the same puzzles.

    Validation puzzles choose thresholds, test puzzles judge. Several runs (training seeds) are pooled.
    Writes compare.json, compare.md, figures, recordings of runs and learned rules into a folder.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN|BANK ...")]
    """Runs (folder, RUN@500, RUN@best or Hub id), recorded first, or banks made by `hrm-rl trace`."""
    out: Path | None = None
    """Folder for the report, by default reports/RUN. A run's recording is kept there and used again."""
    puzzles: int | None = None
    """Puzzles of each split; by default 1000 of a run, all of a bank."""
    max_segments: int | None = None
    """Limit of segments; by default a run's halt_max_steps, all of a bank."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) or dataset folder for runs. By default generated
    puzzles, or, for custom puzzles, the folder that each run learned from."""

    seconds: bool = False
    """Also measure seconds a puzzle of every rule live, alone and with slot refill; for runs."""
    beside: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR ...")] = ()
    """Folders of earlier reports, such as of other models, drawn beside this one in accuracy_gflop.png."""

    def run(self) -> None:
        from hrm_rl.analysis.compare.records import read_reports
        from hrm_rl.training.comparison import compare, source_names

        check_counts(self, "puzzles", "max_segments")
        read_reports(self.beside)
        show_log()
        options = dict(vars(self))
        runs, out, json, beside = (options.pop(name) for name in ("runs", "out", "json", "beside"))
        out = out or Path("reports", "-".join(source_names(runs)))
        options["progress"] = self.progress and not json
        options["threads"] = "auto" if self.threads is None else self.threads
        report = compare(runs, folder=out, **options).save(out, beside)
        self.report(report, _text(report))


def _text(report: dict[str, Any]) -> str:
    """The table, its legend, the rules as chosen, and the files written."""
    from hrm_rl.analysis.compare.table import aligned, chosen_cells, legend, text

    window = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    header, rows = chosen_cells(report)
    rules = aligned([header, *rows], len(header)) if rows else []
    files = report["files"]
    written = " ".join([files["markdown"], files["json"], *files["figures"]])
    return "\n".join([text(report, window), "", *legend(report), "", *rules, "", f"Written: {written}"])
