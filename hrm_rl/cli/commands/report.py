"""`hrm-rl report`."""

import webbrowser
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from hrm_rl.cli.options import Long, check_counts
from hrm_rl.cli.output import show_log
from hrm_rl.report.settings import Recording


@dataclass(frozen=True, kw_only=True)
class Report(Long, Recording):
    """Write one page for the browser: replay of puzzles, halting, calibration, depth, training, settings.

    The page is one file without links to elsewhere: it opens from disk and can be sent.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN|BANK|NAME ...")]
    """Runs (folder, RUN@500, RUN@best or Hub id) and installed models (sudoku-4x4, ...), recorded first, or
    banks made by `hrm-rl trace --drafts`."""
    out: Path = Path("report.html")
    """The page to write; an earlier report is replaced."""
    policies: tuple[str, ...] | None = None
    """Stopping rules to compare; by default those of `hrm-rl compare`."""
    replayed: int = 12
    """Puzzles of each run to replay."""

    open: bool = False
    """Open the page in a browser."""

    def run(self) -> None:
        from hrm_rl.report.document import report

        check_counts(self, "puzzles", "max_segments", "replayed")
        show_log()
        how = Recording(**{field.name: getattr(self, field.name) for field in fields(Recording)})
        progress = self.progress and not self.json
        path = report(
            self.runs, self.out, policies=self.policies, replayed=self.replayed, how=how, progress=progress
        )
        if self.open and not webbrowser.open(path.resolve().as_uri()):
            raise ValueError(f"no browser was found here; {path} is written, open it by hand")
        size = path.stat().st_size
        found = {"report": str(path), "bytes": size, "sources": [str(run) for run in self.runs]}
        self.report(found, f"{path}: {size / 1e6:.1f} MB, opens in a browser")
