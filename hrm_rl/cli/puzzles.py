"""`hrm-rl puzzles`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hrm_rl.cli.output import print_json
from hrm_rl.puzzles import find_family

if TYPE_CHECKING:
    from hrm_rl.puzzles.pool import PuzzleArrays

_SUDOKU_DIALS = {"size": "4, 6, 9", "extra_givens": "two numbers of 0 or more"}
_PICTURES_A_ROW = 4


@dataclass(frozen=True)
class Puzzles:
    """Generate puzzles, as CSV (source,question,answer,rating) or to look at.

    The same seed gives the same puzzles on every machine. Training, validation and test puzzles
    never share a class, that is, are never the same up to the symmetries of their family.
    Dials and file formats of every family: docs/worlds.md.
    """

    family: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")]
    """sudoku, maze, prefix-parity, pointer-chase, life, lights-out or unique-sat; arc to look at."""
    out: Path | None = None
    """CSV file to write."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1000
    """How many."""
    show: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="[N]")] = None
    """Show the first puzzle, or the first N, with answers."""
    picture: Path | None = None
    """Show them in this picture (.png) instead of as text."""
    seed: int = 0
    """Which puzzles."""
    split: Literal["train", "validation", "test"] | None = None
    """Only puzzles of these classes; all by default."""
    rate: bool = True
    """Rate each puzzle, in the unit of its family."""
    data_set: Annotated[str, tyro.conf.arg(metavar="NAME|FOLDER")] = "arc-agi-1"
    """Of arc: arc-agi-1, arc-agi-2 or a folder of task files. `--split test` is what is asked."""
    json: bool = False
    """Print the result as one JSON object."""

    size: int | None = None
    """Dial of sudoku (4, 6, 9), maze (3 to 100), life (4 to 32), lights-out (2, 3, 6, 7, 8, 10)."""
    extra_givens: tuple[int, int] = (0, 0)
    """Dial of sudoku: least and most givens beyond a minimal puzzle; 0 0 is hardest."""
    perfect: bool = False
    """Dial of maze: corridors, instead of random walls."""
    braid: float | None = None
    """Dial of maze: share of a perfect maze's dead ends that are opened (0 to 1)."""
    min_path: int | None = None
    """Dial of maze: least moves."""
    length: int | None = None
    """Dial of prefix-parity: bits (4 to 1024)."""
    min_length: int | None = None
    """Dial of prefix-parity: least bits, for rows of random lengths."""
    nodes: int | None = None
    """Dial of pointer-chase: nodes of the map (2 to 512)."""
    hops: int | None = None
    """Dial of pointer-chase: hops (1 to nodes - 1)."""
    min_hops: int | None = None
    """Dial of pointer-chase: least hops, for chases of random lengths."""
    trajectory: bool = False
    """Dial of pointer-chase: ask for every node on the way."""
    steps: int | None = None
    """Dial of life: steps to look ahead (1 to 64)."""
    presses: int | None = None
    """Dial of lights-out: buttons of the answer (1 to size x size); any number by default."""
    variables: int | None = None
    """Dial of unique-sat: variables (4 to 20)."""
    extra_clauses: int | None = None
    """Dial of unique-sat: redundant clauses (0 to 200)."""

    def run(self) -> None:
        if self.family == "arc":
            self._show_arc()
            return
        if self.data_set != "arc-agi-1":
            raise ValueError(f"--data-set is of arc; {self.family} puzzles are generated")
        module = find_family(self.family)
        shown = self._check()
        dials = self._dials(module)
        count = self.n if self.out is not None else shown
        # A drawing needs no rating, which may take longer than all the rest.
        rate = self.rate and self.out is not None
        if self.family == "sudoku":
            dials.setdefault("extra_givens", (0, 0))
        arrays = module.generate(count, seed=self.seed, split=self.split, rate=rate, **dials)
        result: dict[str, Any] = {"count": count, **dials}
        if self.family == "sudoku":
            result = {"count": count, "size": dials.get("size", 9)}
        if self.out is not None:
            self._write(module, arrays, dials)
            result = {"out": str(self.out), **result}
        if self.picture is not None:
            _save_picture(self.picture, module, arrays.take(slice(shown)), dials)
            result["picture"] = str(self.picture)
        if self.json:
            print_json(result)
            return
        if self.out is not None:
            size = dials.get("size", 9) if self.family == "sudoku" else None
            kind = f"puzzles of {size}x{size}" if size else f"{self.family} puzzles"
            print(f"{count} {kind} in {self.out}." + ("" if self.show else " The first:"))
        if self.picture is not None:
            print(f"{shown} drawn in {self.picture}")
        elif self.show is not None:
            for puzzle in range(shown):
                print(_solved_drawing(module.draw, arrays, puzzle, dials) + "\n")
        else:
            print(module.draw(arrays.inputs[0], **_drawn(dials)))

    def _show_arc(self) -> None:
        """Pairs of ARC tasks, in the order of the tasks: they are read, not generated."""
        from hrm_rl.puzzles import arc

        shown = self._check()
        if self.out is not None:
            raise ValueError("arc's tasks are files already; it has --show and --picture, no --out")
        self._dials(None)
        if self.data_set in arc.DATASETS:
            tasks = arc.load(self.data_set)
        elif Path(self.data_set).is_dir():
            tasks = arc.read_folder(self.data_set)
        else:
            known = ", ".join(arc.DATASETS)
            raise FileNotFoundError(f"--data-set is {known} or a folder; no folder {self.data_set}")
        table = arc.ArcTable(arc.augment(tasks, 0), self.split or "train")
        arrays = table.take(slice(shown))
        assert arrays.source is not None
        if self.json:
            print_json({"count": len(arrays), "source": list(arrays.source)})
        if self.picture is not None:
            _save_picture(self.picture, arc, arrays, {}, arc.PAD)
            if not self.json:
                print(f"{len(arrays)} drawn in {self.picture}")
        elif not self.json:
            for puzzle, source in enumerate(arrays.source):
                print(f"{source}\n{_solved_drawing(arc.draw, arrays, puzzle, {}, arc.PAD)}\n")

    def _check(self) -> int:
        """How many to show; ValueError or FileNotFoundError for options that ask for nothing."""
        if self.out is None and self.show is None and self.picture is None:
            raise ValueError("puzzles needs --out FILE.csv, or --show, or --picture FILE.png")
        if self.n < 1:
            raise ValueError(f"-n must be >= 1, got {self.n}")
        if self.show is not None and (len(self.show) > 1 or min(self.show, default=1) < 1):
            given = " ".join(map(str, self.show))
            raise ValueError(f"--show takes one number of 1 or more, or none; got {given}")
        for option, path in (("--out", self.out), ("--picture", self.picture)):
            if path is None:
                continue
            if not path.parent.is_dir():
                raise FileNotFoundError(f"no folder {path.parent} to write {path.name} in")
            if path.is_dir():
                kind = "CSV file" if option == "--out" else "picture"
                raise ValueError(f"{path} is a folder; {option} names the {kind} to write")
        if self.picture is not None and self.picture.suffix.lower() != ".png":
            raise ValueError(f"--picture must end in .png, got {self.picture.name}")
        shown = self.show[0] if self.show else 1
        return min(shown, self.n) if self.out is not None else shown

    def _dials(self, module: Any) -> dict[str, Any]:
        """The dials given, by name; ValueError for one of another family."""
        given = {
            "size": self.size,
            "extra_givens": None if self.extra_givens == (0, 0) else self.extra_givens,
            "perfect": self.perfect or None,
            "braid": self.braid,
            "min_path": self.min_path,
            "length": self.length,
            "min_length": self.min_length,
            "nodes": self.nodes,
            "hops": self.hops,
            "min_hops": self.min_hops,
            "trajectory": self.trajectory or None,
            "steps": self.steps,
            "presses": self.presses,
            "variables": self.variables,
            "extra_clauses": self.extra_clauses,
        }
        dials = {name: value for name, value in given.items() if value is not None}
        known = _SUDOKU_DIALS
        if self.family == "arc":
            known = {}
        elif self.family != "sudoku":
            known = {dial.name: dial.values for dial in module.DIALS}
        for name in dials:
            if name not in known:
                has = ", ".join(f"{_option(dial)} ({values})" for dial, values in known.items())
                raise ValueError(
                    f"{_option(name)} is no dial of {self.family}; it has {has or 'none'}"
                )
        return dials

    def _write(self, module: Any, arrays: "PuzzleArrays", dials: dict[str, Any]) -> None:
        from hrm_rl.puzzles.files import csv as family_csv

        if self.family in ("sudoku", "maze"):
            size = {"size": dials["size"]} if "size" in dials else {}
            module.write_csv(self.out, arrays, **size)
        else:
            assert self.out is not None
            family_csv.write_csv(self.out, arrays, module.CHARACTERS)


def _option(dial: str) -> str:
    return "--" + dial.replace("_", "-")


def _drawn(dials: dict[str, Any]) -> dict[str, Any]:
    """The dials that a drawing takes: a Sudoku's givens are in the puzzle."""
    return {name: value for name, value in dials.items() if name != "extra_givens"}


def _solved_drawing(
    draw: Any,
    arrays: "PuzzleArrays",
    puzzle: int,
    dials: dict[str, Any],
    unasked: int | None = None,
) -> Any:
    """A puzzle with its answer, by the family's `draw` or `picture`.

    What is not asked for is as in the question, or has the token `unasked`.
    """
    import numpy as np

    from hrm_rl.puzzles.pool import IGNORE_LABEL

    inputs, labels = arrays.inputs[puzzle], arrays.labels[puzzle]
    answer = np.where(labels == IGNORE_LABEL, inputs if unasked is None else unasked, labels)
    return draw(inputs, draft=answer, labels=labels, **_drawn(dials))


def _save_picture(
    path: Path,
    module: Any,
    arrays: "PuzzleArrays",
    dials: dict[str, Any],
    unasked: int | None = None,
) -> None:
    """The puzzles side by side, four a row."""
    from PIL import Image

    pictures = [
        Image.fromarray(_solved_drawing(module.picture, arrays, puzzle, dials, unasked))
        for puzzle in range(len(arrays))
    ]
    width, height = pictures[0].size
    columns = min(len(pictures), _PICTURES_A_ROW)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    sheet.save(path)
