"""The documentation: its generated pages and tables, and how long it may be."""

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import gymnasium as gym
import pytest

from hrm_rl.puzzles import FAMILIES, find_family

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# Markdown that is read in the repository, and not on the site.
BESIDE = [*ROOT.glob("*.md"), *(ROOT / "experiments").rglob("*.md")]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="runs in a checkout of the repository")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/hooks.py, as mkdocs loads it; it needs no mkdocs until a site is built."""
    sys.path.insert(0, str(DOCS))
    try:
        import hooks
    finally:
        sys.path.remove(str(DOCS))
    return hooks


@pytest.fixture(scope="module")
def generated(hooks: ModuleType) -> dict[str, str]:
    return hooks.environment_pages.pages()


def test_every_family_has_a_page_with_each_dial(generated: dict[str, str]) -> None:
    for name in FAMILIES:
        page = generated[f"environments/{name}.md"]
        dials = re.findall(r"^\| `(\w+)` \|", page.partition("## Dials")[2], re.MULTILINE)
        assert dials == [field.name for field in dataclasses.fields(find_family(name))]


def test_the_facts_of_a_family_are_told_from_its_text(hooks: ModuleType) -> None:
    known = {"Tokens", "Rating", "Class", "Augmentation", "Class and augmentation"}
    for name in FAMILIES:
        doc = hooks.environment_pages.entries()[name].doc
        assert {"Tokens", "Rating"} <= set(doc.facts) <= known and doc.title and doc.text
    doc = hooks.environment_pages.entries()["unique-sat"].doc
    assert doc.text.count("\n\n") == 2 and doc.facts["Tokens"].startswith("PAD = 0")


def test_every_environment_is_in_the_gallery(generated: dict[str, str]) -> None:
    gallery = generated["environments/index.md"]
    assert [i for i in gym.registry if i.startswith("HRM/") and f"`{i}`" not in gallery] == []
    assert [path for path in generated if path[13:] not in f"index.md {gallery}"] == []


def test_every_family_has_a_picture_and_all_are_small() -> None:
    pictures = list((DOCS / "assets" / "environments").glob("*.png"))
    missing = FAMILIES.keys() - {picture.stem for picture in pictures}
    assert not missing, f"no pictures: run python docs/families.py {' '.join(missing)}"
    assert [picture.name for picture in pictures if picture.stat().st_size > 30_000] == []


def test_the_navigation_lists_the_pages_of_environments(hooks: ModuleType, generated: dict[str, str]) -> None:
    config = SimpleNamespace(nav=[{"Environments": "environments/index.md"}, "other.md"])
    gallery, *pages = hooks.on_config(config).nav[0]["Environments"]
    assert [gallery, *(path for page in pages for path in page.values())] == list(generated)
    assert pages[0] == {"Sudoku": "environments/sudoku.md"}
    listed = re.findall(r"'(api/[^']+)'", str(hooks.api_pages.navigation()))
    assert sorted(listed) == sorted(hooks.api_pages.pages())


def test_no_cell_of_a_generated_table_is_empty_but_a_range_or_a_picture(generated: dict[str, str]) -> None:
    for path, page in generated.items():
        rows = [line for line in page.splitlines() if re.match(r"\| `\w+` \|", line)]
        assert rows and [row for row in rows if row.endswith("|  |")] == [], path


def test_an_unknown_table_fails_the_build(hooks: ModuleType) -> None:
    for mark, words in (
        ("rulez", "a.md: unknown table 'rulez'; known: rules"),
        ("settings weather", "unknown settings 'weather'; known: model"),
        ("rules model", "a.md: table 'rules model'"),
        ("text hrm_rl.nothing", "No module named"),
    ):
        with pytest.raises(ValueError) as error:
            hooks.fill_tables(f"Text\n\n<!-- table: {mark} -->\n", "a.md")
        assert words in str(error.value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_mark_is_filled(page: Path, hooks: ModuleType) -> None:
    filled = hooks.fill_tables(page.read_text(encoding="utf-8"), page.name)
    assert not re.search(r"<!--\s*table", filled)


def test_the_table_of_rules_has_each_of_them(hooks: ModuleType) -> None:
    from hrm_rl.halting.rules.spec import KNOWN

    rules = re.findall(r"^\| `([\w-]+)", hooks.TABLES["rules"](), re.MULTILINE)
    assert rules == list(KNOWN)


def test_what_pages_and_examples_import_is_on_an_api_page(hooks: ModuleType) -> None:
    api = hooks.api_pages
    public = {f"{module}.{name}" for module in api.modules() for name in api.names(module)}
    public |= set(api.modules())
    sources = [*PAGES, *BESIDE, *(ROOT / "examples").glob("*.py")]
    found = re.compile(r"^(?: {4})?from (hrm_rl[\w.]*) import ([\w, ]+|\([^)]*\))", re.MULTILINE)
    for page in sources:
        for module, names in found.findall(page.read_text(encoding="utf-8")):
            missing = {f"{module}.{name}" for name in re.findall(r"\w+", names)} - public
            assert not missing, f"{page.name}: {missing}; docs/api_pages.py lists the modules"


def test_a_name_is_documented_once_and_listed_wherever_it_is_exported(hooks: ModuleType) -> None:
    pages = hooks.api_pages.pages()
    assert pages["api/hrm_rl.agents.md"].count("::: hrm_rl.agents.pqn.hrm_pqn.train_hrm") == 1
    other = pages["api/hrm_rl.agents.pqn.hrm_pqn.md"]
    assert "::: hrm_rl.agents.pqn.hrm_pqn.train_hrm" not in other and "| [`train_hrm`][" in other
    for path, page in pages.items():
        rows = re.findall(r"^\| .*", page, re.MULTILINE)
        assert [row for row in rows if re.search(r"\|\s+\|", row)] == [], path


def build(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`mkdocs build --strict` into a folder, as `make docs` runs it."""
    for tool in ("material", "mkdocstrings"):
        pytest.importorskip(tool)
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder / "site"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.mark.slow  # `make docs` does the same
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="environments/sudoku.html"' in page and 'src="http' not in page


def test_the_build_refuses_broken_links(tmp_path: Path) -> None:
    broken = ("gone.md", "gone.png", "#gone", "more.md#gone", "/more.md", "more", "../LICENSE")
    (tmp_path / "docs").mkdir()
    links = "\n".join(f"[a]({link})" for link in broken)
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n{links}\n")
    (tmp_path / "docs" / "more.md").write_text("# More\n")
    (tmp_path / "docs" / "unlisted.md").write_text("# Unlisted\n")
    config = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nnav: [index.md, more.md]\n"
    config += "theme: {name: mkdocs}\nhooks: []\nplugins: []\nextra_css: []\n"
    (tmp_path / "mkdocs.yml").write_text(config)
    result = build(tmp_path, "-f", str(tmp_path / "mkdocs.yml"))
    assert result.returncode == 1
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    told = "\n".join([*warnings, *re.findall(r"^ +- (.*)$", result.stderr, re.MULTILINE)])
    assert [link for link in (*broken, "unlisted.md") if link not in told] == [], result.stderr
    assert len(warnings) == len(broken) + 1, result.stderr


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", name.lower()).strip().replace(" ", "-") for name in headings}


@pytest.mark.parametrize("page", BESIDE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_beside_the_site_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    for path, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if "://" not in path:
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {path}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {path}#{anchor}"


def test_files_named_in_the_text_are_there() -> None:
    rooms = "docs|examples|experiments|tests|benchmarks|hrm_rl"
    named = re.compile(rf"(?<![\w/.~-])(?:{rooms})/[\w./-]*\w\.(?:py|md|ipynb|json|png|svg|txt)\b")
    for page in [*PAGES, *BESIDE, *(ROOT / "hrm_rl").rglob("*.py")]:
        paths = named.findall(page.read_text(encoding="utf-8"))
        gone = [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
        assert gone == [] or page.name == "CHANGELOG.md", f"{page}: {gone}"


def test_extras_install_from_a_checkout() -> None:
    """Every `pip install` of hrm_rl works in a checkout, and names extras that there are."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [path for name in ("docs", "examples", "hrm_rl") for path in (ROOT / name).rglob("*")]
    texts = [path for path in files if path.suffix in (".md", ".py", ".ipynb")]
    for path in [*texts, *BESIDE]:
        lines = path.read_text(encoding="utf-8").replace("\\", "").splitlines()
        for line in (line for line in lines if re.search(r"pip install\b.*(hrm_rl|-e)\b", line)):
            extras = re.search(r'-e "\.\[([\w,-]+)\]"', line)
            assert extras or re.search(r"-e \.(?!\[)|\{extra\}", line), f"{path.name}: {line}"
            assert not extras or set(extras[1].split(",")) <= {*known, "NAME"}, f"{path.name}: {line}"


def test_the_pages_stay_short() -> None:
    words = sum(len(page.read_text(encoding="utf-8").split()) for page in PAGES)
    assert words <= 23_850
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 450


def test_each_promise_of_security_has_its_test() -> None:
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    promises = re.findall(r"^\| \*\*.*\| (.*) \|$", page, re.MULTILINE)
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(promises) == 10 and all(promises)
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in tests, name
    assert len(page.split()) <= 600
