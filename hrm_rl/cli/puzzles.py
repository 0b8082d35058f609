"""`hrm-rl puzzles`."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hrm_rl.cli.output import print_json

FAMILIES = ("sudoku",)


@dataclass(frozen=True)
class Puzzles:
    """Generate puzzles with one solution each, as CSV: source,question,answer,rating.

    The same seed gives the same puzzles on every machine. Training, validation and test puzzles
    never share a class, that is, are never the same up to relabelling, shuffling or transposing.
    """

    family: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")]
    """sudoku."""
    out: Path
    """CSV file to write."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1000
    """How many."""
    size: int = 9
    """Width of the board: 4, 6 or 9."""
    extra_givens: tuple[int, int] = (0, 0)
    """Least and most givens beyond a minimal puzzle: 0 0 is hardest."""
    seed: int = 0
    """Which puzzles."""
    split: Literal["train", "validation", "test"] | None = None
    """Only puzzles of these classes; all by default."""
    rate: bool = True
    """Rate each puzzle by what a solver does to it."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        from hrm_rl.puzzles import sudoku

        if self.family not in FAMILIES:
            near = difflib.get_close_matches(self.family, FAMILIES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"unknown family {self.family!r}; {hint}known: {', '.join(FAMILIES)}")
        if self.n < 1:
            raise ValueError(f"-n must be >= 1, got {self.n}")
        if not self.out.parent.is_dir():
            raise FileNotFoundError(f"no folder {self.out.parent} to write {self.out.name} in")
        if self.out.is_dir():
            raise ValueError(f"{self.out} is a folder; --out names the CSV file to write")
        arrays = sudoku.generate(
            self.n,
            self.size,
            seed=self.seed,
            extra_givens=self.extra_givens,
            split=self.split,
            rate=self.rate,
        )
        sudoku.write_csv(self.out, arrays, self.size)
        if self.json:
            print_json({"out": str(self.out), "count": len(arrays), "size": self.size})
            return
        print(f"{len(arrays)} puzzles of {self.size}x{self.size} in {self.out}. The first:")
        print(sudoku.draw(arrays.inputs[0], self.size))
