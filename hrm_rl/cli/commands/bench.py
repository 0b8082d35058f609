"""`hrm-rl bench`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hrm_rl.cli.options import Command
from hrm_rl.cli.output import say, show_log, table_text


@dataclass(frozen=True, kw_only=True)
class Bench(Command):
    """Time training and evaluation on this machine, side by side in one run; ratios with their spread.

    `train_step.*` compares the way `train` would compute with plain formulas in float32, and the cheaper Q
    targets with the paper's; `environment.*` and `overhead.*` give the share of a training step outside the
    model; `evaluate.*` compares stopping early with running to the limit, and on a GPU `graph.*`,
    `compiled.*` and `compiled-graph.*` CUDA graphs, torch.compile and both with neither. With --reference,
    training steps of hidden size 128 and 512, and of the reference a segment, are compared with other
    implementations of equal size, eager and with torch.compile. Steps and segments also give their arithmetic
    and traffic, and the share of this machine's measured peak.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes cuda if there is a GPU."""
    reference: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR ...")] = ()
    """Local clones of sapientinc/HRM, SamsungSAILMontreal/TinyRecursiveModels or lucidrains/HRM to measure as
    well; each takes a few minutes."""
    rounds: int = 5
    """Interleaved rounds per row; the median is reported."""
    record: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Also write the result to FOLDER/DATE-MACHINE.json, row by row."""

    def run(self) -> None:
        from hrm_rl.bench.run import benchmark, record
        from hrm_rl.stopwatch import crowded
        from hrm_rl.training.machine.compute import pick_device

        if self.rounds < 3:
            raise ValueError(f"--rounds must be >= 3, got {self.rounds}")
        if self.record is not None:  # now, not after minutes
            self.record.mkdir(parents=True, exist_ok=True)
        show_log()
        measured = benchmark(pick_device(self.device), self.rounds, self.reference)
        parts = (word.split("=") for word in sys.argv[1:])  # without the folders of this machine
        words = ("=".join(Path(p).name if Path(p).is_absolute() else p for p in word) for word in parts)
        about = {**measured.about, "command": " ".join(["hrm-rl", *words])}
        rows = []
        for row in measured.rows:
            say(f"{row['name']} against {row['against']}: {row['ratio']:.3f}")
            rows.append(row)
            if self.record is not None:
                record(self.record, about, rows)
        text = table_text(
            f"{about['machine']}; {about['device']}; torch {about['torch']}",
            ["what", "ours (ms)", "other (ms)", "against", "ratio", "spread", "of the peak", "products"],
            [
                [
                    row["name"],
                    f"{1000 * row['ours']:.2f}",
                    f"{1000 * row['other']:.2f}",
                    row["against"],
                    f"{row['ratio']:.3f}",
                    f"{row['spread'][0]:.3f} to {row['spread'][1]:.3f}",
                    *(f"{row[key]:.2f}" if key in row else "" for key in ("share_of_peak", "products")),
                ]
                for row in rows
            ],
        )
        if note := crowded(min(row["cpu_share"] for row in rows)):
            text += f"\n{note}"
        self.report({**about, "rows": rows}, text)
