"""Hooks of mkdocs: pages of environments, and tables in other pages, generated when the site is built.

- `environments/NAME.md`, a page for every registered id, and their gallery, `environments/index.md`.
- `api/MODULE.md`, a page for every public module, and their list, `api/index.md`.
- A line `<!-- table: NAME -->` in any page becomes a table of `TABLES`.

The navigation lists them. Only `on_files` needs mkdocs.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import api_pages
import environment_pages
from api_pages import first
from environment_pages import plain, table

_MARK = re.compile(r"^<!--\s*table:(.*?)-->[ \t]*$", re.MULTILINE)


def rules_table() -> str:
    """Every built-in rule for stopping: spec, when it stops, what `auto` chooses."""
    from hrm_rl.halting.rules import RULES
    from hrm_rl.halting.rules.combine import COMBINATORS
    from hrm_rl.halting.rules.learned import FILES, LEARNED, learned_class
    from hrm_rl.halting.rules.select import SELECTORS
    from hrm_rl.halting.rules.threshold import ThresholdRule

    rows = []
    for name, kind in RULES.items():
        tuned = issubclass(kind, ThresholdRule) or hasattr(kind, "auto")
        rows.append([_spec(name, kind), first(kind), f"X, {kind.value}" if tuned else ""])
    for name in LEARNED:
        kind = learned_class(name)
        forms = [":".join((name, *words, "auto")) for words in sorted(kind.variants)]
        if name == "calm":
            forms = import_module(kind.__module__).FORM.split(" or ")
        shown = ", ".join(f"`{form}`" for form in forms[:3]) + ", ..." * (len(forms) > 3)
        rows.append([f"`{name}:{FILES[name]}`", first(kind), f"fitted by {shown}"])
    wrappers = (COMBINATORS | SELECTORS).values()
    rows += [[f"`{kind.form}`", first(kind), "as in RULE"] for kind in wrappers]
    stops = [[spec, about.removeprefix("Stop").lstrip(", "), auto] for spec, about, auto in rows]
    return table(["rule", "stops", "`auto` chooses"], stops)


def _spec(name: str, kind: Any) -> str:
    """How the rule is written: with its number X, without it if it has a default."""
    if not kind.value:
        return f"`{name}`"
    (number,) = dataclasses.fields(kind)
    optional = "" if number.default is dataclasses.MISSING else f"`{name}`, "
    return f"{optional}`{name}:X`"


def settings_of(name: str = "") -> str:
    """The settings of a table of a config file; "" is the top level."""
    from hrm_rl.training.config.settings import TABLES as KNOWN
    from hrm_rl.training.config.settings import settings_table

    if name not in ("", *KNOWN):
        raise ValueError(f"unknown settings {name!r}; known: {', '.join(KNOWN)}")
    return settings_table(name)


def q_targets_table() -> str:
    """The targets of Q_continue, from the docstring of their module."""
    from hrm_rl.agents.learning import q_targets

    lines = (q_targets.__doc__ or "").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("|"))


def halting_losses_table() -> str:
    """The ways to learn when to stop: name, loss, the rule that they train for."""
    from hrm_rl.agents import LearnerConfig
    from hrm_rl.agents.learning.halting_loss import HALTING_LOSSES

    rows = []
    for name, kind in HALTING_LOSSES.items():
        about = plain((inspect.getdoc(kind) or "").replace("\n\n", " "))
        rows.append([f"`{name}`", about, f"`{LearnerConfig(halting_loss=name).rule}`"])
    return table(["halting_loss", "the loss", "rule"], rows)


def presets_table() -> str:
    """The presets: name, parameters, puzzles, length."""
    import torch

    from hrm_rl.model import make_model
    from hrm_rl.training.presets import PRESETS

    rows = []
    for name, preset in PRESETS.items():
        with torch.device("meta"):
            relations = preset.data.kind.relations if preset.model.relation_bias else None
            count = sum(p.numel() for p in make_model(preset.model, relations).parameters())
        data = preset.data
        steps = f"{preset.max_steps:,} x {preset.batch_size}"
        puzzles = f"{data.train_puzzles:,} of {data.kind.words}"
        rows.append([f"`{name}`", f"{count:,}", puzzles, steps])
    return table(["preset", "parameters", "training puzzles", "steps x batch"], rows)


def commands_table() -> str:
    """The commands of `hrm-rl` with the first line of their help."""
    from hrm_rl.cli.commands import COMMANDS

    rows = []
    for name, place in COMMANDS.items():
        module, _, kind = place.partition(":")
        command = getattr(import_module(f"hrm_rl.cli.commands.{module}"), kind)
        rows.append([f"`hrm-rl {name}`", first(command)])
    return table(["command", "what it does"], rows)


def features_table() -> str:
    """What a rule or the agent of `HRM/Halting-v0` sees of a segment."""
    from hrm_rl.halting.features import SegmentFeatures
    from hrm_rl.halting.vector import FEATURE_NAMES

    meanings = environment_pages.read_doc(SegmentFeatures).arguments
    return table(["feature", "meaning"], [[f"`{name}`", meanings[name]] for name in FEATURE_NAMES])


def misfits_table() -> str:
    """The datasets of reasoning-gym that show a grid and do not fit."""
    from hrm_rl.puzzles.reasoning_gym import MISFITS

    return table(["dataset", "why not"], [[f"`{name}`", why] for name, why in MISFITS.items()])


def text_of(module: str) -> str:
    """A module's docstring behind its first paragraph."""
    return plain((inspect.getdoc(import_module(module)) or "").partition("\n\n")[2])


TABLES: dict[str, Callable[..., str]] = {
    "rules": rules_table,
    "environments": lambda: environment_pages.environments_table("environments/"),
    "settings": settings_of,
    "q-targets": q_targets_table,
    "halting-losses": halting_losses_table,
    "presets": presets_table,
    "commands": commands_table,
    "features": features_table,
    "misfits": misfits_table,
    "text": text_of,
}
"""What a mark `<!-- table: NAME WORD... -->` becomes, by NAME."""


def fill_tables(markdown: str, page: str = "") -> str:
    """The page with a table in place of each mark. Raises ValueError for an unknown one."""

    def made(match: re.Match[str]) -> str:
        name, *words = match[1].split() or [""]
        if name not in TABLES:
            raise ValueError(f"{page}: unknown table {name!r}; known: {', '.join(TABLES)}")
        try:
            return TABLES[name](*words)
        except (ImportError, TypeError, ValueError) as error:
            raise ValueError(f"{page}: table {match[1].strip()!r}: {error}") from None

    return _MARK.sub(made, markdown)


def on_config(config: Any) -> Any:
    """Put the generated pages under their lists in the navigation."""
    for item in config.nav:
        if "Environments" in item:
            entries = environment_pages.entries().values()
            pages = [{entry.doc.title: f"environments/{entry.page}.md"} for entry in entries]
            item["Environments"] = [item["Environments"], *pages]
        if "API" in item:
            item["API"] = api_pages.navigation()
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in {**environment_pages.pages(), **api_pages.pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the tables of a page."""
    return fill_tables(markdown, page.file.src_path)
