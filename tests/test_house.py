"""The package as a whole: a light import, names that cannot be had twice, and floors."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("envs", "agents")

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="runs in a checkout of the repository"
)


def python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new interpreter whose sys.path starts with `cwd`."""
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_import_loads_nothing_heavy() -> None:
    heavy = ("torch", "triton", "numba", "stable_baselines3", "tensorboard", "matplotlib")
    result = python(f"import sys, hrm_rl; print([name for name in {heavy!r} if name in sys.modules])")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
    code = "import sys, hrm_rl; hrm_rl.from_pretrained('maze'); print('torch._dynamo' in sys.modules)"
    opened = python(code)
    assert opened.stdout.strip() == "False", opened.stderr


def test_import_is_quick() -> None:
    """CPU seconds, the best of a few tries: neither a cold disk nor a busy machine counts."""
    code = "import time; start = time.process_time(); import hrm_rl; print(time.process_time() - start)"
    seconds = []
    for _ in range(5):
        result = python(code)
        assert result.returncode == 0, result.stderr
        seconds.append(float(result.stdout))
        if seconds[-1] < 0.5:
            return
    pytest.fail(f"import hrm_rl took {min(seconds):.2f} s of CPU at best; the limit is 0.5 s")


@pytest.mark.parametrize("name", LINKED)
def test_root_link_leads_to_the_package_and_refuses_its_bare_name(name: str) -> None:
    """From the root the link would make a second copy of the package, with other classes."""
    link = ROOT / name
    if not link.is_symlink():
        pytest.skip("a checkout without symbolic links")
    assert link.readlink() == Path("hrm_rl") / name  # relative, so that it survives a move
    assert (link / "__init__.py").samefile(ROOT / "hrm_rl" / name / "__init__.py")
    assert_refused(python(f"import {name}"), name)


@pytest.mark.parametrize("name", LINKED)
def test_package_refuses_its_bare_name_and_answers_to_its_full_one(name: str) -> None:
    assert_refused(python(f"import {name}", cwd=ROOT / "hrm_rl"), name)
    assert import_module(f"hrm_rl.{name}").__name__ == f"hrm_rl.{name}"


def text_calls(tree: ast.AST) -> list[str]:
    """Calls that read or write text in the encoding of the platform."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        words = ast.unparse(call)
        owner, _, name = words.partition("(")[0].rpartition(".")
        text = owner and name in ("read_text", "write_text")
        opens = name == "open" and owner != "archive" and re.search(r"'[rwax]\+?'", words)
        if (text or opens) and "encoding=" not in words:
            found.append(words)
    return found


def test_text_is_utf8_on_every_platform() -> None:
    bad = "open('file', 'w'); path.read_text(); path.open('r'); path.write_text(text)"
    assert len(text_calls(ast.parse(bad))) == 4
    good = "open('file', 'wb'); read_text(path); path.open('a', encoding='utf-8')"
    assert text_calls(ast.parse(good)) == []
    package = (ROOT / "hrm_rl").rglob("*.py")
    found = {str(file): text_calls(ast.parse(file.read_text("utf-8"))) for file in package}
    assert {file: calls for file, calls in found.items() if calls} == {}


def assert_refused(result: subprocess.CompletedProcess[str], name: str) -> None:
    assert result.returncode != 0
    last_line = result.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError") and f"hrm_rl.{name}" in last_line, result.stderr


def test_floors_hold() -> None:
    """Nothing imports upward (import-linter's contracts in pyproject.toml)."""
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run(
        [sys.executable, "-c", code, "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_rooms_stay_small() -> None:
    files = list((ROOT / "hrm_rl").rglob("*.py"))
    folders = Counter(file.parent.relative_to(ROOT / "hrm_rl").as_posix() for file in files)
    limits = {"cli/commands": 15}
    assert {name: n for name, n in folders.items() if n > limits.get(name, 12)} == {}
    assert [file for file in files if len(file.read_text().splitlines()) > 350] == []


def test_plain_words() -> None:
    """Turns of phrase that stop a reader; the list is that of the first rewriting."""
    odd = re.compile(r"is no |hangs on|Promised is|Asked for is")
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    texts += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "hrm_rl").rglob("*.py")]
    found = [f"{t.name}: {line}" for t in texts for line in t.read_text().splitlines() if odd.search(line)]
    assert found == []
