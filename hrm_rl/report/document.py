"""The page: one file with its style, its scripts and its data in it, which loads nothing else."""

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hrm_rl
from hrm_rl.analysis.compare.settings import DEFAULT_POLICIES, Settings
from hrm_rl.analysis.compare.trials import policy_name
from hrm_rl.files import check_replaces, write_text
from hrm_rl.halting import TraceBank
from hrm_rl.model.files.weights import fetch_pretrained
from hrm_rl.report.content import content, open_source
from hrm_rl.report.settings import Recording
from hrm_rl.training.comparison import is_bank, refuse_selectors, source_names

_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("plotly-basic.min.js", "boards.js", "charts.js", "page.js")
_MARK = '<meta name="generator" content="hrm-rl report">'


def report(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "report.html",
    *,
    policies: Sequence[str] | None = None,
    replayed: int = 12,
    how: Recording = Recording(),  # noqa: B008  frozen
    progress: bool = False,
) -> Path:
    """Write one page of runs, installed models or banks; returns its path.

    Args:
        sources: as in `hrm_rl.compare`; runs and models are recorded here.
        out: the file; an earlier report is replaced.
        policies: rules to compare; by default those of `hrm_rl.compare`.
        replayed: puzzles of each source to replay.
        how: how runs are recorded.
        progress: show it on stderr while recording.

    Raises ValueError or OSError: a source that cannot be opened, an unknown rule, a file in the way.
    """
    check_report(out)
    Settings(DEFAULT_POLICIES if policies is None else tuple(policies), seed=how.seed)
    for policy in policies or ():
        policy_name(policy)
    names = source_names(list(sources))
    refuse_selectors(policies or (), [source for source in sources if not is_bank(source)])
    opened: list[Any] = []
    for source in sources:  # before the first one takes its minutes
        if not is_bank(source):
            fetch_pretrained(source)
        opened.append(TraceBank.load(source) if is_bank(source) else source)
    found = [
        content(open_source(source, name, how, progress), policies, replayed, how.seed)
        for source, name in zip(opened, names, strict=True)
    ]
    path = Path(out)
    write_text(path, page(found))
    return path


def check_report(out: str | os.PathLike[str]) -> None:
    """Raise OSError or ValueError if a report cannot be written there, or would replace another file."""
    if Path(out).is_dir():
        raise IsADirectoryError(
            f"{out} is a folder; a report is one file, such as {Path(out, 'report.html')}"
        )
    if not Path(out).parent.is_dir():
        raise FileNotFoundError(f"{out}: the folder {Path(out).parent} does not exist")
    mark = _MARK.encode()
    check_replaces(out, "a report", lambda file: mark in file.open("rb").read(1000))


def page(sources: Sequence[dict[str, Any]]) -> str:
    """The page as text. The sources are data only: none of their text becomes markup or code.

    The content policy allows the scripts by their hashes and forbids every connection.
    """
    scripts = [(_PAGE / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    data = {"version": hrm_rl.__version__, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    parts = {
        "policy": f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:",
        "mark": _MARK,
        "title": html.escape(", ".join(source["name"] for source in sources)),
        "style": (_PAGE / "style.css").read_text(encoding="utf-8"),
        "data": _as_script(data | {"sources": list(sources)}),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    template = (_PAGE / "template.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _as_script(value: Any) -> str:
    """JSON that ends no script and begins no comment, whatever its texts hold."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
