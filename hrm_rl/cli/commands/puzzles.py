"""`hrm-rl puzzles FAMILY`: a subcommand for every family, with its dials, and one for ARC."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import tyro

from hrm_rl.cli.options import Command
from hrm_rl.cli.output import show_log
from hrm_rl.files import begins_with, check_replaces, written_whole
from hrm_rl.puzzles import FAMILIES, find_family
from hrm_rl.puzzles.base.dials import range_of
from hrm_rl.puzzles.base.splits import Split
from hrm_rl.puzzles.files.rows import check_csv_path

if TYPE_CHECKING:
    from hrm_rl.puzzles.family import Family
    from hrm_rl.puzzles.pool import PuzzleArrays

_PICTURES_A_ROW = 4
_PNG = b"\x89PNG"


@dataclass(frozen=True, kw_only=True)
class Shown(Command):
    """Options of every subcommand: which puzzles to look at, and how."""

    show: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="[N]")] = None
    """Show the first puzzle, or the first N, with answers."""
    picture: Path | None = None
    """Show them in this picture (.png) instead of as text."""
    split: Split | None = None
    """Only puzzles of these classes; all by default."""

    def count_shown(self) -> int:
        """Number of puzzles to show. Raises ValueError or FileNotFoundError for a wrong option."""
        if self.show is not None and (len(self.show) > 1 or min(self.show, default=1) < 1):
            given = " ".join(map(str, self.show))
            raise ValueError(f"--show takes one number of 1 or more, or none; got {given}")
        _check_path("--picture", self.picture, "picture")
        if self.picture is not None:
            check_replaces(self.picture, "a PNG picture", begins_with(_PNG))
        if self.picture is not None and self.picture.suffix.lower() != ".png":
            raise ValueError(f"--picture must end in .png, got {self.picture.name}")
        return self.show[0] if self.show else 1


@dataclass(frozen=True, kw_only=True)
class Generated(Shown):
    """Puzzles of a family; `family_command` makes a subclass for each."""

    family: Any = None
    """The family with its dials."""
    out: Path | None = None
    """CSV file to write."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1000
    """Number of puzzles in the file."""
    distinct: bool = False
    """Leave out puzzles that repeat an earlier one, and take the next of the seed instead."""
    seed: int = 0
    """Seed of the puzzles."""
    rate: Annotated[bool, tyro.conf.arg(help="Leave out the ratings.", help_behavior_hint="")] = True
    """Whether to rate each puzzle, in the unit of its family."""

    def run(self) -> None:
        family = self.family
        show_log()
        shown = self._check()
        count = self.n if self.out is not None else shown
        # A drawing needs no rating, which may take longer than all the rest.
        rate = self.rate and self.out is not None
        generate = family.generate_distinct if self.distinct else family.generate
        puzzles = generate(count, seed=self.seed, split=self.split, rate=rate)
        shown = min(shown, len(puzzles))
        dials = {name: value for name, value in family.dials().items() if value is not None}
        result: dict[str, Any] = {"count": len(puzzles), **dials}
        if self.out is not None:
            family.write_csv(self.out, puzzles)
            result = {"out": str(self.out), **result, "distinct": len(puzzles.distinct())}
        if self.picture is not None:
            _save_picture(self.picture, family.picture, puzzles.take(slice(shown)))
            result["picture"] = str(self.picture)
        self.report(result, self._text(family, puzzles, shown, result))

    def _text(self, family: "Family", puzzles: "PuzzleArrays", shown: int, result: dict[str, Any]) -> str:
        words = []
        if self.out is not None:
            sudoku = family.name == "sudoku"
            count, distinct = len(puzzles), result["distinct"]
            noun = "puzzle" if count == 1 else "puzzles"
            kind = f"{noun} of {family.words}" if sudoku else f"{family.name} {noun}"
            first = "" if self.show else " The first:"
            note = "" if distinct == count else f", {distinct} of them distinct (see --distinct)"
            words.append(f"{count} {kind} in {self.out}{note}.{first}")
        if self.picture is not None:
            words.append(f"{shown} drawn in {self.picture}")
        elif self.show is not None:
            words += [_solved(family.draw, puzzles, puzzle) + "\n" for puzzle in range(shown)]
        else:
            words.append(family.draw(puzzles.inputs[0]))
        return "\n".join(words)

    def _check(self) -> int:
        if self.out is None and self.show is None and self.picture is None:
            raise ValueError("puzzles needs --out FILE.csv, or --show, or --picture FILE.png")
        if self.n < 1:
            raise ValueError(f"-n must be >= 1, got {self.n}")
        _check_path("--out", self.out, "CSV file")
        if self.out is not None:
            check_csv_path(self.out)
        shown = self.count_shown()
        return min(shown, self.n) if self.out is not None else shown


@dataclass(frozen=True, kw_only=True)
class ArcTasks(Shown):
    """Pairs of ARC tasks, in the order of the tasks; `--split test` shows what is asked."""

    data_set: Annotated[str, tyro.conf.arg(metavar="NAME|FOLDER")] = "arc-agi-1"
    """arc-agi-1, arc-agi-2 or a folder of task files."""

    def run(self) -> None:
        from hrm_rl.puzzles import arc

        if self.show is None and self.picture is None:
            raise ValueError("puzzles arc needs --show, or --picture FILE.png")
        count = self.count_shown()
        if self.data_set in arc.DATASETS:
            tasks = arc.load(self.data_set)
        elif Path(self.data_set).is_dir():
            tasks = arc.read_folder(self.data_set)
        else:
            known = ", ".join(arc.DATASETS)
            raise FileNotFoundError(f"--data-set is {known} or a folder; no folder {self.data_set}")
        table = arc.ArcTable(arc.augment(tasks, 0), self.split or "train")
        pairs = table.take(slice(count))
        assert pairs.source is not None
        if self.picture is not None:
            _save_picture(self.picture, arc.picture, pairs, arc.PAD)
        text = f"{len(pairs)} drawn in {self.picture}"
        if self.picture is None:
            drawn = (_solved(arc.draw, pairs, puzzle, arc.PAD) for puzzle in range(len(pairs)))
            both = zip(pairs.source, drawn, strict=True)
            text = "\n".join(f"{source}\n{board}\n" for source, board in both)
        self.report({"count": len(pairs), "source": list(pairs.source)}, text)


@dataclass(frozen=True)
class Puzzles:
    """Generate puzzles, as CSV (source,question,answer,rating) or to look at.

    The same seed gives the same puzzles on every machine. Training, validation and test puzzles never share a
    class: none is the same as another up to the symmetries of its family. `hrm-rl puzzles FAMILY --help`
    lists a family's dials.
    """


def puzzles_command() -> type[Puzzles]:
    """`Puzzles` with a subcommand for every family."""
    names = (*FAMILIES, "arc")
    kinds = [Annotated[family_command(name), tyro.conf.subcommand(name)] for name in names]
    return make_dataclass(
        "Puzzles",
        [("family", reduce(or_, kinds))],
        bases=(Puzzles,),
        frozen=True,
        namespace={"__doc__": Puzzles.__doc__},
    )


def family_command(name: str) -> type[Shown]:
    """The command of a family, with an option for each dial. Raises ValueError for an unknown name."""
    if name == "arc":
        return ArcTasks
    family = _with_ranges(find_family(name))
    options = Annotated[family, tyro.conf.arg(name="")]  # type: ignore[valid-type]
    return make_dataclass(
        family.__name__,
        [("family", options, field(default_factory=family))],
        bases=(Generated,),
        frozen=True,
        namespace={"__doc__": (family.__doc__ or "").partition("\n")[0]},
    )


def _with_ranges(family: type["Family"]) -> type["Family"]:
    """A family whose help shows the range of each dial."""
    hints, dials = get_type_hints(family), []
    for dial in dataclasses.fields(family):  # type: ignore[arg-type]
        words, hint = range_of(dial).words, hints[dial.name]
        if words and hint is not bool:
            hint = Annotated[hint, tyro.conf.arg(metavar=words)]
        dials.append((dial.name, hint, field(default=dial.default, metadata=dial.metadata)))
    return make_dataclass(
        family.__name__, dials, bases=(family,), frozen=True, namespace={"__doc__": family.__doc__}
    )


def _check_path(option: str, path: Path | None, kind: str) -> None:
    if path is None:
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} in")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; {option} names the {kind} to write")


def _solved(
    draw: Callable[..., Any], puzzles: "PuzzleArrays", puzzle: int, unasked: int | None = None
) -> Any:
    """A puzzle with its answer, by a family's `draw` or `picture`.

    A cell without a label is as in the question, or has the token `unasked`.
    """
    import numpy as np

    from hrm_rl.puzzles.pool import IGNORE_LABEL

    inputs, labels = puzzles.inputs[puzzle], puzzles.labels[puzzle]
    answer = np.where(labels == IGNORE_LABEL, inputs if unasked is None else unasked, labels)
    return draw(inputs, draft=answer, labels=labels)


def _save_picture(
    path: Path, draw: Callable[..., Any], puzzles: "PuzzleArrays", unasked: int | None = None
) -> None:
    """The puzzles side by side, four a row."""
    from PIL import Image

    pictures = [Image.fromarray(_solved(draw, puzzles, puzzle, unasked)) for puzzle in range(len(puzzles))]
    width, height = pictures[0].size
    columns = min(len(pictures), _PICTURES_A_ROW)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    with written_whole(path) as partial:
        sheet.save(partial, "PNG")
