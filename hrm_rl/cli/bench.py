"""`hrm-rl bench`."""

from dataclasses import dataclass
from typing import Literal

from hrm_rl.cli.output import print_json, print_table


@dataclass(frozen=True)
class Bench:
    """Time a training step on this machine, side by side in one run; ratios with their spread.

    `train_step.*` sets the way `train` would compute against float32 with PyTorch's defaults;
    `environment.*` and `overhead.*` give the share of a training step that is not the model.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes cuda where there is one."""
    rounds: int = 5
    """Interleaved rounds a row; the median is given."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        from hrm_rl.training.benchmark import benchmark
        from hrm_rl.training.compute import pick_device

        if self.rounds < 3:
            raise ValueError(f"--rounds must be >= 3, got {self.rounds}")
        result = benchmark(pick_device(self.device), self.rounds)
        if self.json:
            print_json(result)
            return
        print_table(
            f"{result['device']}, torch {result['torch']}",
            ["what", "ours (ms)", "other (ms)", "against", "ratio", "spread"],
            [
                [
                    row["name"],
                    f"{1000 * row['ours']:.2f}",
                    f"{1000 * row['other']:.2f}",
                    row["against"],
                    f"{row['ratio']:.3f}",
                    f"{row['spread'][0]:.3f} to {row['spread'][1]:.3f}",
                ]
                for row in result["rows"]
            ],
        )
