"""Pages of environments, generated from docstrings: functions from docstrings to Markdown.

`pages()` has one for every registered id and their gallery; docs/hooks.py adds them to the site.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import docstring_parser
import gymnasium as gym

import hrm_rl  # noqa: F401  (registers the environments)
from hrm_rl.puzzles import find_family
from hrm_rl.puzzles.base.dials import range_of

PICTURES = Path(__file__).parent / "assets" / "environments"
_FAMILY_PAGES = "hrm_rl.envs.families.make"
# What has the options of an environment that is not a family as arguments, and what else its page has.
_OPTIONS_OF = {
    "hrm_rl.envs.families.arc": ("arc_source",),
    "hrm_rl.envs.halting": ("make_vector_env", "HaltingVectorEnv"),
}
_MORE = {"halting": "## Features\n\n<!-- table: features -->"}


# --- Markdown ------------------------------------------------------------------------------------------


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; line breaks and bars in its cells are taken care of."""
    lines = [[*columns], *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """A docstring's text as Markdown: double backticks become single, arXiv numbers become links."""
    text = re.sub(r"(?<!`)``(?!`)", "`", text)
    return re.sub(r"\b(\d{4}\.\d{5})\b", r"[\1](https://arxiv.org/abs/\1)", text)


def sentence(text: str) -> str:
    """The text on one line, its first letter a capital if it is a word and not a name of code."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] if re.match(r"[a-z]+\b(?![.(])", text) else text


@dataclass(frozen=True)
class Doc:
    """A docstring in parts."""

    title: str
    """What stands before the colon of the first line; "" if there is none."""
    summary: str
    """The rest of the first paragraph."""
    text: str
    """The paragraphs that follow, as Markdown."""
    facts: dict[str, str]
    """Paragraphs `Name: text`, such as `Tokens`, `Rating`, `Observation`."""
    arguments: dict[str, str]
    """Fields or arguments and what they mean."""


_FACT = re.compile(r"^([A-Z]\w*(?: and \w+)?): (.*(?:\n(?![A-Z]\w*(?: and \w+)?: ).*)*)", re.M)


def read_doc(thing: Any) -> Doc:
    """The docstring of a module, class or function, in the parts that pages are made of."""
    text = inspect.getdoc(thing) or ""
    if isinstance(thing, type):
        parsed = docstring_parser.parse_from_object(thing)
    else:
        parsed = docstring_parser.parse(text)
    arguments = {p.arg_name: plain(sentence(p.description or "")) for p in parsed.params}
    text = plain(re.split(r"^(?:Args|Returns|Raises):", text, maxsplit=1, flags=re.MULTILINE)[0])
    first, *paragraphs = re.split(r"\n\n(?=\S)", text.strip())
    title, colon, summary = " ".join(first.split()).partition(": ")
    if not colon:
        title, summary = "", title
    is_facts = [_FACT.match(paragraph) is not None for paragraph in paragraphs]
    facts = "\n".join(p for p, fact in zip(paragraphs, is_facts, strict=True) if fact)
    kept = "\n\n".join(p for p, fact in zip(paragraphs, is_facts, strict=True) if not fact)
    named = {name: sentence(about) for name, about in _FACT.findall(facts)}
    return Doc(title, summary, kept, named, arguments)


# --- the environments ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A registered environment."""

    id: str
    page: str
    """File name of its page, without suffix; a family's own name."""
    doc: Doc
    family: Any
    """Its family's class; None for others."""
    options: Mapping[str, tuple[Any, str, str]]
    """Dials or options: default, range and meaning of each by name."""

    def picture(self, root: str) -> str:
        """Its picture in Markdown, `root` leading to the docs' folder; "" if there is none."""
        if not (PICTURES / f"{self.page}.png").is_file():
            return ""
        return f"![{self.doc.title}]({root}assets/environments/{self.page}.png)"


@cache
def entries() -> dict[str, Entry]:
    """Every environment `HRM/...` by page, families first."""
    found = [_entry(spec) for name, spec in gym.registry.items() if name.startswith("HRM/")]
    found.sort(key=lambda entry: entry.family is None)
    return {entry.page: entry for entry in found}


def _entry(spec: Any) -> Entry:
    module_name, _, attribute = spec.entry_point.partition(":")
    module = import_module(module_name)
    if module_name == _FAMILY_PAGES:
        name = spec.kwargs["family"]
        family = find_family(name)
        doc = read_doc(family)
        return Entry(spec.id, name, doc, family, _dials(family, doc))
    page = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", spec.id[4:-3]).lower()
    doc = read_doc(module)
    if module_name in _OPTIONS_OF:
        options: dict[str, Any] = {}
        for name in _OPTIONS_OF[module_name]:
            function = getattr(module, name)
            options = options | (_arguments(function, read_doc(function)) | options)
        options.pop("num_envs", None)
        return Entry(spec.id, page, doc, None, options)
    kind = getattr(module, attribute)  # an ordinary environment: its class is the page
    about = read_doc(kind)
    doc = dataclasses.replace(doc, text=about.text, facts=about.facts)
    return Entry(spec.id, page, doc, None, _arguments(kind, about))


def _dials(family: Any, doc: Doc) -> dict[str, tuple[Any, str, str]]:
    return {
        field.name: (field.default, range_of(field).words, doc.arguments.get(field.name, ""))
        for field in dataclasses.fields(family)
    }


def _arguments(function: Any, doc: Doc) -> dict[str, tuple[Any, str, str]]:
    return {
        name: (parameter.default, "", doc.arguments[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if name in doc.arguments and parameter.kind is not parameter.VAR_KEYWORD
    }


def _pool_options() -> dict[str, tuple[Any, str, str]]:
    """The options that every family has besides its dials."""
    from hrm_rl.envs.families.make import family_source

    pool = _arguments(family_source, read_doc(family_source))
    return {name: about for name, about in pool.items() if name not in ("family", "device")}


def _episode_options() -> dict[str, tuple[Any, str, str]]:
    """The options of every puzzle environment."""
    from hrm_rl.envs.core.single import PuzzleEnv
    from hrm_rl.envs.core.transition import EpisodeSettings

    meanings = read_doc(EpisodeSettings).arguments
    fields = dataclasses.fields(EpisodeSettings)
    look = _arguments(PuzzleEnv, read_doc(PuzzleEnv))
    return {
        **{field.name: (field.default, "", meanings[field.name]) for field in fields},
        **{name: look[name] for name in ("flat_action", "render_mode")},
    }


def options_table(options: Mapping[str, tuple[Any, str, str]], kind: str) -> str:
    """Dials or options: name, default, range if any has one, meaning."""
    ranged = any(words for _, words, _ in options.values())
    rows = []
    for name, (default, words, about) in options.items():
        shown = f'`"{default}"`' if isinstance(default, str) else f"`{default}`"
        if default is inspect.Parameter.empty:
            shown = "required"
        rows.append([f"`{name}`", shown, *([words] if ranged else []), about])
    return table([kind, "default", *(["range"] if ranged else []), "meaning"], rows)


_EPISODE = "[options of an episode](index.md#options-of-an-episode)"
_PUZZLES = "[Puzzles](../puzzles.md)"


def environment_page(entry: Entry) -> str:
    """The page of an environment in Markdown."""
    doc = entry.doc
    parts = [f"# {doc.title}", f"`{entry.id}`: {doc.summary}", entry.picture("../"), _calls(entry), doc.text]
    if doc.facts:
        parts.append(table(["", ""], [[f"**{name}**", text] for name, text in doc.facts.items()]))
    parts.append(_MORE.get(entry.page, ""))
    kind = "option" if entry.family is None else "dial"
    parts += [f"## {kind.capitalize()}s", options_table(entry.options, kind)]
    if entry.page == "arc":
        parts.append(f"It takes the {_EPISODE} too. {_PUZZLES} has the numbers of pairs and voting.")
    if entry.family is not None:
        episode = read_doc(import_module(_FAMILY_PAGES)).facts
        parts += [
            f"It takes the [options of every family](index.md#options-of-every-family) and the {_EPISODE} "
            f"too. {_PUZZLES} explains splits, keys and files.",
            "## Episode",
            table(["", ""], [[f"**{name}**", text] for name, text in episode.items()]),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _calls(entry: Entry) -> str:
    """One line of Python and, for puzzles, one of the command line."""
    name, (default, _, _) = next(iter(entry.options.items()))
    given = "" if default is None else f", {name}={default!r}"
    code = f'```python\nimport gymnasium as gym\nimport hrm_rl\n\nenv = gym.make("{entry.id}"{given})\n```\n'
    if entry.family is None and entry.page != "arc":
        return code
    return f"{code}\n```sh\nhrm-rl puzzles {entry.page} --show 3\n```"


def gallery_page() -> str:
    """The page of all environments."""
    return "\n\n".join(
        [
            "# Environments",
            environments_table(),
            "All families share observation, action and reward ([Concepts](../concepts.md)); they differ in "
            "what the tokens mean. In the pictures, red cells of a draft are wrong. "
            "[Puzzles of reasoning-gym](../reasoning-gym.md) and [your own](../your-own-puzzles.md) are "
            "environments of the same form.",
            "## Options of every family",
            options_table(_pool_options(), "option"),
            "## Options of an episode",
            options_table(_episode_options(), "option"),
        ]
    )


def environments_table(folder: str = "") -> str:
    """The gallery's table; `folder` leads from the page to those of the environments."""
    root = "" if folder else "../"
    rows = []
    for entry in entries().values():
        page = f"{folder}{entry.page}.md"
        picture = entry.picture(root)
        picture = f"[{picture}{{ width=120 }}]({page})" if picture else ""
        names = ", ".join(f"`{name}`" for name in entry.options)
        rows.append([picture, f"[`{entry.id}`]({page})", sentence(entry.doc.summary), names])
    return table(["", "id", "what it is", "dials and options"], rows)


def pages() -> dict[str, str]:
    """Path and Markdown of every page that is generated whole."""
    made = {f"environments/{name}.md": environment_page(entry) for name, entry in entries().items()}
    return {"environments/index.md": gallery_page(), **made}
