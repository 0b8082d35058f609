"""`hrm-rl sweep`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hrm_rl.cli.options import Long, check_counts
from hrm_rl.cli.output import show_log, table_text

if TYPE_CHECKING:
    from hrm_rl.sweep.report import Report


@dataclass(frozen=True, kw_only=True)
class Sweep(Long):
    """Train every combination of a study's settings with several seeds, and tabulate means with intervals.

    The study is a config file with `seeds`, and with [grid] (every combination of these values) or [[list]]
    (settings that go together). The same command goes on where it was stopped: finished trials are skipped,
    interrupted ones continue, and a failed one is tried once more.
    """

    study: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY.toml")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the trials, new or with trials of this study; runs/STUDY by default."""
    seeds: tuple[int, ...] | None = None
    """Seeds, instead of the study's."""
    workers: int | None = None
    """Trials at a time: by default one a GPU, or else one a processor; with --slurm all."""
    threads: int | None = None
    """CPU threads of each trial: by default the workers share the processors."""
    slurm: bool = False
    """Run the trials as Slurm jobs, with the parameters of the study's table [slurm] (needs submitit)."""
    dry_run: bool = False
    """List the trials and their states; run and write nothing."""

    def run(self) -> None:
        from hrm_rl.sweep import sweep

        check_counts(self, "workers", "threads")
        if self.progress:
            show_log()
        found = sweep(
            self.study,
            self.out,
            seeds=self.seeds,
            workers=self.workers,
            threads=self.threads,
            slurm="slurm" if self.slurm else None,
            dry_run=self.dry_run,
        )
        self.report(found, _listed(found) if self.dry_run else _text(found))
        if not self.dry_run and found["states"].get("failed"):
            raise SystemExit(1)


def _listed(found: "Report") -> str:
    """The trials and their states."""
    rows = [
        [row["trial"], row["state"], f"{row['step']:,} of {row['max_steps']:,}"] for row in found["trials"]
    ]
    return table_text(f"{len(rows)} trials in {found['folder']}", ["trial", "state", "steps"], rows)


def _text(found: "Report") -> str:
    from hrm_rl.sweep.report import notes, table

    header, rows = table(found)
    title = "Validation: mean over seeds [95 % interval]"
    written = f"Written: {Path(found['folder']) / 'sweep.json'}"
    return "\n".join([table_text(title, header, rows), *notes(found), written])
