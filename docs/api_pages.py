"""Pages of the API, generated: one for each public module, and their list.

A module's page has its docstring, a list of its names, and their documentation. The names are its `__all__`
or, without one, the classes and functions that it defines. A name that several modules export is documented
on the first page in the order of `MODULES`; the others link to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

from environment_pages import plain, table

from hrm_rl.messages import shortened
from hrm_rl.puzzles import FAMILIES

MODULES = {
    "Environments": (
        "envs",
        "envs.thinking",
        "envs.halting",
        "envs.cue_recall",
        "envs.one_way_maze",
        "envs.families.reasoning_gym",
    ),
    "Model": ("model",),
    "Agents": (
        "agents",
        "agents.sb3",
        "agents.tokenizer",
        "agents.pqn",
        "agents.pqn.hrm_pqn",
        "agents.pqn.halting_learners",
        "agents.learning.graphs",
    ),
    "Halting": (
        "halting",
        "halting.rules",
        "halting.bank",
        "halting.bank.toy",
        "halting.vector",
        "halting.fit.tuning",
        "halting.fit.linear",
        "halting.fit.calm",
        "halting.fit.budget",
    ),
    "Training and evaluation": (
        "training.start",
        "training.presets",
        "training.comparison",
        "sweep",
        "evaluation",
        "evaluation.arc",
    ),
    "Analysis": (
        "analysis.compare.settings",
        "analysis.compare.cases",
        "analysis.compare",
        "analysis.compare.records",
        "analysis.statistics.judging",
        "analysis.statistics.curves",
        "analysis.statistics.bootstrap",
        "analysis.statistics.stats",
        "analysis.statistics.calibration",
        "analysis.statistics.selective",
        "analysis.depth",
    ),
    "Puzzles": (
        "puzzles",
        *(path.partition(":")[0].removeprefix("hrm_rl.") for path in FAMILIES.values()),
        "puzzles.arc",
        "puzzles.files.dataset",
        "puzzles.files.table",
        "puzzles.files.cache",
        "puzzles.files.hub",
    ),
}
"""The public modules by section, without their `hrm_rl.`; the package itself comes last."""

_BARE = "show_root_heading: false, show_root_toc_entry: false"


def modules() -> Iterator[str]:
    """The public modules in the order in which they document their names."""
    for names in MODULES.values():
        yield from (f"hrm_rl.{name}" for name in names)
    yield "hrm_rl"


def names(module: str) -> list[str]:
    """The public names of a module."""
    home = import_module(module)
    listed = getattr(home, "__all__", None)
    if listed is None:
        kinds = {name: thing for name, thing in vars(home).items() if inspect.isroutine(thing)}
        kinds |= {name: thing for name, thing in vars(home).items() if isinstance(thing, type)}
        defined = [name for name, thing in kinds.items() if thing.__module__ == module]
        listed = [name for name in vars(home) if name in defined]
    return [name for name in listed if not name.startswith("_")]


def place(module: str, name: str) -> str:
    """The path at which a class or function is defined; "" for a constant."""
    thing = getattr(import_module(module), name)
    return f"{thing.__module__}.{thing.__qualname__}" if callable(thing) else ""


@cache
def documented() -> dict[str, str]:
    """The module on whose page each definition stands."""
    homes: dict[str, str] = {}
    for module in modules():
        for name in names(module):
            homes.setdefault(place(module, name), module)
    return homes


def about(module: str, name: str) -> str:
    """The first paragraph of a name's docstring; of a constant, its value or its keys."""
    thing = getattr(import_module(module), name)
    if callable(thing):
        return first(thing)
    shown = "a dict of " + ", ".join(thing) if isinstance(thing, dict) else repr(thing)
    return f"`{shortened(shown, 100)}`"


def first(thing: Any) -> str:
    """The first paragraph of a docstring."""
    return plain(" ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()))


def module_page(module: str) -> str:
    """The page of a module: docstring, list of names, documentation of each."""
    own = {name: place(module, name) for name in names(module)}
    rows = [
        [f"[`{name}`][{path}]" if path else f"`{name}`", about(module, name)] for name, path in own.items()
    ]
    parts = [
        f"# `{module}`",
        f"::: {module}\n    options: {{members: false, {_BARE}}}",
        table(["name", "what it is"], rows),
    ]
    for name, path in own.items():
        if path and documented()[path] == module:
            alias = "" if path == f"{module}.{name}" else f"[](){{#{module}.{name}}}\n\n"
            parts.append(f"{alias}::: {path}")
    return "\n\n".join(parts) + "\n"


def index_page() -> str:
    """The list of public modules."""
    parts = ["# API", "What these modules list is public; anything else may change without notice."]
    for section, members in {"The package": ("",), **MODULES}.items():
        found = [f"hrm_rl.{name}".rstrip(".") for name in members]
        rows = [[f"[`{name}`]({name}.md)", first(import_module(name))] for name in found]
        parts += [f"## {section}", table(["module", "what it is"], rows)]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Path and Markdown of every page."""
    return {"api/index.md": index_page(), **{f"api/{module}.md": module_page(module) for module in modules()}}


def navigation() -> list[Any]:
    """The pages as the navigation lists them, by section."""
    sections = {
        section: [{name: f"api/hrm_rl.{name}.md"} for name in members] for section, members in MODULES.items()
    }
    return ["api/index.md", {"hrm_rl": "api/hrm_rl.md"}, *({s: p} for s, p in sections.items())]
