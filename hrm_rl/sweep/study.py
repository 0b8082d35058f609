"""A study: the trials that a TOML file describes, one for every seed of every combination of settings.

    preset = "sudoku-4x4"            # of every trial, as are all settings outside grid and list
    seeds = 3                        # 0, 1 and 2; or a list
    max_steps = 1500

    [grid]                           # every combination of these values
    batch_size = [128, 256]
    learner.q_target = ["full", "none"]

    [[list]]                         # settings that go together, one table a case
    name = "wide"
    model.hidden_size = 128

The keys are those of a config file (`hrm_rl.training.config`); `preset` may stand in grid or list too.
"""

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_rl.messages import did_you_mean
from hrm_rl.settings import LARGEST_SEED
from hrm_rl.training.config import Layer, resolve, settings
from hrm_rl.training.config.layers import flat
from hrm_rl.training.config.settings import ALIASES
from hrm_rl.training.config.toml import read_settings, read_toml

Values = dict[str, Any]
MOST_TRIALS = 10_000
_LONGEST_NAME = 80
_STUDY_KEYS = ("seeds", "grid", "list", "slurm")


@dataclass(frozen=True)
class Trial:
    """One run of a study."""

    group: str
    """The folder that it shares with other seeds of the same settings."""
    seed: int
    varied: Values
    """The settings of grid and list, and `preset` if it is there."""
    preset: str
    settings: Values
    """All settings of the study and the trial, by key."""
    max_steps: int

    @property
    def name(self) -> str:
        return f"{self.group}/seed-{self.seed}"


@dataclass(frozen=True)
class Study:
    """What a study's file describes."""

    file: str
    common: Values
    """The settings of every trial, and `preset`."""
    groups: Mapping[str, Values]
    """By the name of each combination of settings: the settings that vary, and `preset` if it does."""
    seeds: tuple[int, ...]
    slurm: Mapping[str, Any]
    """Parameters of Slurm jobs, for submitit."""

    def trials(self) -> list[Trial]:
        """All trials, seed by seed.

        Raises FileNotFoundError or ValueError for a setting that a run cannot have.
        """
        runs = {name: self._resolved(varied) for name, varied in self.groups.items()}
        return [
            Trial(group, seed, varied, *runs[group])
            for seed in self.seeds
            for group, varied in self.groups.items()
        ]

    def _resolved(self, varied: Values) -> tuple[str, Values, int]:
        given = self.common | varied
        preset = given.pop("preset", None)
        run = resolve(Layer(given, preset, self.file))
        return run.preset.name, given, run.preset.max_steps

    def fixed(self) -> dict[str, Any]:
        """What may not change while trials of it exist: the common settings and the names of the others.

        Seeds, values and cases may be added.
        """
        varied = {key for values in self.groups.values() for key in values}
        return json.loads(json.dumps({"settings": self.common, "varied": sorted(varied)}))


def read_study(path: str | os.PathLike[str], seeds: Sequence[int] | None = None) -> Study:
    """The study of a TOML file, with other seeds if they are given.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not TOML, a key is unknown, a list is empty, or something is given twice; the
            message starts with the file.
    """
    file = str(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"no study at {file}")
    try:
        tables = read_toml(Path(path))
        given = tables.pop("seeds", 1)
        grid, cases = tables.pop("grid", {}), tables.pop("list", [])
        slurm = tables.pop("slurm", {})
        for name, table in {"grid": grid, "slurm": slurm}.items():
            if not isinstance(table, Mapping):
                raise ValueError(f"{name} must be a table, [{name}], got {table!r}")
        common = _read_common(tables)
        groups = _groups(_read_grid(grid), _read_cases(cases))
        _refuse_repeated(common, groups)
        named = {name: dict(varied) for name, varied in groups}
        numbers = _read_seeds(given if seeds is None else list(seeds))
        if len(named) * len(numbers) > MOST_TRIALS:
            raise ValueError(f"more than {MOST_TRIALS} trials; give fewer seeds or values")
        return Study(file, common, named, numbers, slurm)
    except ValueError as error:
        separator = "" if str(error).startswith(",") else ": "
        raise ValueError(f"{file}{separator}{error}") from None


def _read_common(tables: Mapping[str, Any]) -> Values:
    """The settings of every trial."""
    if "seed" in tables:
        raise ValueError("seed is of one run; a study has seeds, a number or a list")
    for key, value in flat(tables).items():
        name = ALIASES.get(key, key)
        if isinstance(value, list) and name in settings() and "tuple" not in str(settings()[name].kind):
            raise ValueError(f"{key} is a list; values to train each with belong in [grid]")
        if name not in (*settings(), "preset") and (near := did_you_mean(key, _STUDY_KEYS)):
            raise ValueError(f"unknown {key}; {near}")
    return _read(tables)


def _read(tables: Mapping[str, Any]) -> Values:
    """Settings by key, each as its type, and `preset`."""
    rest = dict(tables)
    preset = rest.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise ValueError(f"preset must be a name, got {preset!r}")
    return ({} if preset is None else {"preset": preset}) | read_settings(rest)


def _read_grid(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each key."""
    found: dict[str, list[Any]] = {}
    for given, values in flat(grid).items():
        if isinstance(values, Mapping):
            read_settings({given: values})  # an unknown table
        if not isinstance(values, list):
            raise ValueError(f"grid.{given} must be a list of values, got {values!r}")
        if not values:
            raise ValueError(f"grid.{given} is an empty list; give at least one value")
        table, _, name = given.rpartition(".")
        with _within("grid: "):
            read = [_read({table: {name: value}} if table else {name: value}) for value in values]
        (key,) = read[0]
        if key == "seed":
            raise ValueError("grid.seed: a study has seeds, a number or a list, at the top")
        if key in found:
            raise ValueError(f"grid.{given}: {key} is there twice")
        found[key] = [one[key] for one in read]
        _refuse_twice(f"grid.{given}", found[key])
    return found


def _read_cases(cases: Any) -> list[tuple[str, Values]]:
    """The name of each case, "" if it has none, and its settings."""
    if not isinstance(cases, list) or not all(isinstance(case, Mapping) for case in cases):
        raise ValueError("list must be tables, each under [[list]]")
    found = []
    for number, case in enumerate(cases, 1):
        rest = dict(case)
        name = rest.pop("name", "")
        if not isinstance(name, str):
            raise ValueError(f"list {number}: name must be a string, got {name!r}")
        if not rest:
            raise ValueError(f"list {number} has no settings")
        with _within(f"list {number}: "):
            values = _read(rest)
        if "seed" in values:
            raise ValueError(f"list {number}: seed is of one run; a study has seeds, a number or a list")
        found.append((name, values))
    _refuse_twice("list", [values for _, values in found])
    _refuse_twice("the names of list", [name for name, _ in found if name])
    return found


def _read_seeds(given: Any) -> tuple[int, ...]:
    if type(given) is int and given > 0:
        return tuple(range(min(given, MOST_TRIALS + 1)))
    good = isinstance(given, list) and all(type(s) is int and 0 <= s <= LARGEST_SEED for s in given)
    if not good or not given:
        raise ValueError(f"seeds must be a number >= 1 or a list of integers >= 0, got {given!r}")
    _refuse_twice("seeds", given)
    return tuple(given)


def _groups(grid: Mapping[str, list[Any]], cases: list[tuple[str, Values]]) -> list[tuple[str, Values]]:
    """Every case with every combination of the grid, each under a name for a folder."""
    size = len(cases or [0])
    for values in grid.values():
        size *= len(values)
    if size > MOST_TRIALS:
        raise ValueError(f"more than {MOST_TRIALS} trials ({size} combinations); give fewer values")
    twice = grid.keys() & {key for _, case in cases for key in case}
    if twice:
        raise ValueError(f"{min(twice)} is in both grid and list")
    keys = {*grid, *(key for _, case in cases for key in case)}
    short = Counter(key.rpartition(".")[2] for key in keys)

    def words(values: Mapping[str, Any]) -> list[str]:
        names = {key: key.rpartition(".")[2] for key in values}
        return [f"{names[k] if short[names[k]] == 1 else k}={_text(v)}" for k, v in values.items()]

    found: list[tuple[str, Values]] = []
    for name, case in cases or [("", {})]:
        for combination in itertools.product(*grid.values()):
            chosen = dict(zip(grid, combination, strict=True))
            parts = [name] if name else words(case)
            found.append((",".join([*parts, *words(chosen)]) or "all", case | chosen))
    return list(_distinct(found))


def _distinct(groups: Iterable[tuple[str, Values]]) -> Iterator[tuple[str, Values]]:
    """The groups under names that are folders, short and different."""
    taken: set[str] = set()
    for name, values in groups:
        folder = re.sub(r"[^\w.,=+-]+", "-", name).strip(".-") or "case"
        if len(folder.encode()) > _LONGEST_NAME or folder.casefold() in taken:
            digest = hashlib.sha256(json.dumps([name, values], sort_keys=True).encode()).hexdigest()[:8]
            folder = f"{folder.encode()[:_LONGEST_NAME].decode(errors='ignore')}-{digest}"
        taken.add(folder.casefold())
        yield folder, values


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "+".join(f"{name}-{inner}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refuse_repeated(common: Values, groups: Iterable[tuple[str, Values]]) -> None:
    for _, varied in groups:
        for key in varied.keys() & common.keys():
            raise ValueError(f"{key} is given for every trial, and in grid or list too")


def _refuse_twice(what: str, values: Sequence[Any]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{what} holds {value!r} twice")


@contextmanager
def _within(place: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}{error}") from None
