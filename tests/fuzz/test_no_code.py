"""Text in a stored file never names code: `module:Class` is imported from none of its places."""

import sys
from pathlib import Path
from typing import Any

import pytest
from harms import documents, places, replaced
from test_readers import READERS, Tree, plant, trees

from hrm_rl.cli import main
from hrm_rl.halting.rules.combine import COMBINATORS

trees = trees  # the fixture
SPECS = ["trap_rules:Rule", "trap_rules:Rule:0.5", "trap_rules.inner:Rule", "calm:trap_rules:Rule:x"]
SPECS += [kind.form.replace("RULE", SPECS[0]).replace("N", "2") for kind in COMBINATORS.values()]
TEXTS = [spec.replace(", ...", "") for spec in SPECS]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module on the path that may not be imported."""
    (tmp_path / "trap_rules.py").write_text("raise SystemExit('code of a file was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit):  # the trap works
        __import__("trap_rules")


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("name", READERS)
def test_text_in_a_file_is_never_code(name: str, trees: dict[str, Tree], tmp_path: Path) -> None:
    kind, use = READERS[name]
    count = 0
    for file, content in trees[kind].items():
        for document, rebuilt in documents(file, content):
            for path in places(document):
                value: Any = document
                for key in path:
                    value = value[key]
                if not isinstance(value, str):
                    continue
                text = TEXTS[count % len(TEXTS)]
                for new in (text, TEXTS[0]):
                    count += 1
                    folder = tmp_path / str(count)
                    plant(
                        trees[kind] | {file: rebuilt(replaced(document, path, lambda _, new=new: new))},
                        folder,
                    )
                    try:
                        use(folder)
                    except (ValueError, OSError) as error:
                        assert str(error)
    assert "trap_rules" not in sys.modules


@pytest.mark.usefixtures("trap")
def test_text_in_a_bank_is_not_a_rule_of_a_comparison(trees: dict[str, Tree], tmp_path: Path) -> None:
    ((file, content),) = trees["bank"].items()
    for document, rebuilt in documents(file, content):
        if "trained_rule" in document:
            plant({file: rebuilt(document | {"trained_rule": TEXTS[0]})}, tmp_path / "bank")
            out = str(tmp_path / "report")
            assert main(["compare", str(tmp_path / "bank" / file), "--out", out, "--draws", "100"]) in (0, 2)
    assert "trap_rules" not in sys.modules
