"""The settings of a training run, read off the dataclasses that hold them.

A setting's meaning is the docstring under its field, its default the presets' own value. The config file,
the options of `hrm-rl train` with their help, and the table of the docs come from here.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypedDict, Union, get_args, get_origin, get_type_hints

import docstring_parser
import tyro
from tyro.constructors import PrimitiveConstructorSpec

from hrm_rl.agents import LearnerConfig
from hrm_rl.agents.learning.config import RENAMED_SETTINGS
from hrm_rl.distributed.sharding import SHARDINGS, Sharding
from hrm_rl.model import HRMConfig
from hrm_rl.model.config import FORWARD_DTYPES
from hrm_rl.settings import LARGEST_SEED, Switch, check_integers, check_one_of
from hrm_rl.training.curriculum import read_dials
from hrm_rl.training.data_settings import CommonData, FamilyData, SudokuData
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.machine.threads import MOST_THREADS
from hrm_rl.training.presets import PRESETS, Preset


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run that no preset has."""

    seed: int = 0
    """Seeds the weights, the puzzles drawn and the exploration."""
    device: str = "auto"
    """cpu, cuda or mps; auto takes cuda if there is one."""
    dtype: str = "auto"
    """float32 or bfloat16; auto measures which is faster."""
    compile: Switch = "auto"
    """Compile the model's block with torch.compile; auto does on a CPU, if that measures faster, for runs of
    five minutes, and of one minute once the code is on the disk."""
    threads: int | None = None
    """Threads of the CPU; by default OMP_NUM_THREADS, or else the faster of PyTorch's choice and one."""

    sharding: Sharding | None = None
    """Of several ranks: full divides weights, gradients and optimizer states among them (FSDP2), for models
    beyond one GPU's memory; by default, none, each holds all."""

    def __post_init__(self) -> None:
        check_one_of(self, ("auto", *FORWARD_DTYPES), "dtype")
        if self.sharding is not None:
            check_one_of(self, SHARDINGS, "sharding")
        check_integers(self, 0, "seed", most=LARGEST_SEED)
        if self.threads is not None:
            check_integers(self, 1, "threads", most=MOST_THREADS)


# The dataclasses of each table and its heading in the help; "" is the top level.
_HOMES: dict[str, tuple[tuple[Any, ...], str]] = {
    "": ((RunSettings, Preset), ""),
    "model": ((HRMConfig,), "The network: [model] in a config file (HRMConfig)."),
    "learner": ((LearnerConfig,), "How it learns: [learner] in a config file (LearnerConfig)."),
    "data": ((CommonData, SudokuData, FamilyData), "Which puzzles: [data] in a config file."),
}
TABLES = ("model", "learner", "data")
# Other names of settings: fields that a setting of the top level fills, and names in older files.
ALIASES = {"model.forward_dtype": "dtype", "learner.seed": "seed"}
ALIASES |= {f"learner.{old}": f"learner.{new}" for old, new in RENAMED_SETTINGS.items()}
_SHORT = {"learner.q_target": "--q-target", "learner.gradient": "--gradient", "data.file": "--data"}


@dataclass(frozen=True)
class Setting:
    """One setting: its table ("" at the top level), the type of its value and its meaning."""

    table: str
    name: str
    kind: Any
    meaning: str

    @property
    def key(self) -> str:
        """Its name in a config file and in messages: `batch_size`, `learner.lr`."""
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def default(self) -> str:
        """The presets' values as text: first one that several share, then the others with their presets."""
        holders = {name: getattr(preset, self.table, preset) for name, preset in PRESETS.items()}
        if not self.table and hasattr(RunSettings, self.name):
            holders = {"": RunSettings()}
        has = {name: holder for name, holder in holders.items() if hasattr(holder, self.name)}
        values = {name: _text(getattr(holder, self.name)) for name, holder in has.items()}
        if not values:
            return "none"
        common, count = Counter(values.values()).most_common(1)[0]
        shared = [common] if count > 1 else []
        others = [f"{n} {v}".strip() for n, v in values.items() if [v] != shared]
        return "; ".join(shared + others)


@cache
def settings() -> dict[str, Setting]:
    """All settings by key, in the order of the dataclasses, the top level first."""
    found: dict[str, Setting] = {}
    for table, (homes, _) in _HOMES.items():
        for home in homes:
            kinds, parsed = get_type_hints(home), docstring_parser.parse_from_object(home)
            meanings = {p.arg_name: " ".join((p.description or "").split()) for p in parsed.params}
            for field in dataclasses.fields(home):
                setting = Setting(table, field.name, kinds[field.name], meanings.get(field.name, ""))
                if setting.key not in (*TABLES, *ALIASES, "name"):
                    found.setdefault(setting.key, setting)
    return found


def option(key: str) -> str:
    """A setting's option on the command line: `--learner.lr`; the short one if it has two."""
    return _SHORT.get(key, f"--{key}".replace("_", "-"))


def run_settings(preset: Preset, compute: Compute) -> RunSettings:
    """The settings that a resolved run has outside its preset."""
    compiled: Switch = "yes" if compute.compile else "no"
    return RunSettings(preset.learner.seed, compute.device, compute.dtype, compiled)


def values_of(preset: Preset, compute: Compute) -> dict[str, Any]:
    """All settings of a resolved run by key; None for a setting of other families."""
    run = run_settings(preset, compute)
    found = {}
    for key, setting in settings().items():
        holder = run if hasattr(run, key) else getattr(preset, setting.table, preset)
        found[key] = getattr(holder, setting.name, None)
    return found


def given_settings(*keys: str) -> Any:
    """A TypedDict of these settings, by default all: what tyro reads, holding only what was given."""
    chosen = [setting for key, setting in settings().items() if not keys or key in keys]
    tables: dict[str, Any] = {}
    for table, (_, heading) in _HOMES.items():
        if fields := {s.name: _option_type(s) for s in chosen if s.table == table}:
            tables[table] = TypedDict(table.capitalize(), fields, total=False)  # type: ignore
            tables[table].__doc__ = heading
    top = tables.pop("").__annotations__ if "" in tables else {}
    return TypedDict("Settings", {**top, **tables}, total=False)  # type: ignore


def settings_table(table: str = "") -> str:
    """The settings of a table as Markdown, for the docs."""
    lines = ["| setting | meaning | presets |", "| --- | --- | --- |"]
    for setting in settings().values():
        if setting.table == table:
            meaning = setting.meaning.replace("|", "\\|")
            lines.append(f"| `{setting.name}` | {meaning} | {setting.default} |")
    return "\n".join(lines) + "\n"


def _option_type(setting: Setting) -> Any:
    """The type of a value with its help and short spelling, as tyro reads it."""
    about = tyro.conf.arg(
        help=setting.meaning,
        help_behavior_hint=f"(default: {setting.default})",
        aliases=[_SHORT[setting.key]] if setting.key in _SHORT else None,
    )
    kind = setting.kind
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (k for k in get_args(kind) if k is not NoneType)
    if kind is bool:  # with a value, as in a config file; of a flag without a default tyro shows one half
        return Annotated[kind, tyro.conf.FlagConversionOff, about]
    return Annotated[kind, _DIALS, about] if get_origin(kind) is Mapping else Annotated[kind, about]


def _read_dials(words: list[str]) -> dict[str, Any]:
    return read_dials(words[0])


_DIALS = PrimitiveConstructorSpec(
    nargs=1,
    metavar='"NAME=VALUE ..."',
    instance_from_str=_read_dials,
    is_instance=lambda value: isinstance(value, Mapping),
    str_from_instance=lambda value: [_text(value)],
)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={inner}" for name, inner in value.items()) or "none"
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
