"""The command line called in this process, and things for it to open."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from hrm_rl.cli import main
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import sudoku
from hrm_rl.training import presets
from hrm_rl.training.presets import Preset, SudokuData

SMALL = """\
preset = "{}"
batch_size = 4
max_steps = 2
device = "cpu"
dtype = "float32"
ema_decay = 0

[model]
hidden_size = 16
num_heads = 2
halt_max_steps = 2

[data]
train_puzzles = 20
validation_puzzles = 4
"""


class Said(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which is exactly one JSON object."""
        assert self.code == 0, self.err
        found = json.loads(self.out)
        assert isinstance(found, dict) and self.out.count("\n") == 1
        return found

    @property
    def refusal(self) -> str:
        """The one short message of bad input."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        (message,) = self.err.splitlines()
        assert message.startswith("hrm-rl: ") and len(message) < 400
        assert "Traceback" not in message and "Errno" not in message
        return message


@pytest.fixture
def hrm_rl(capsys) -> Callable[..., Said]:
    """`hrm_rl("eval", folder, "--json")`."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def config_of(preset) -> Callable[..., HRMConfig]:
    """The architecture of a tiny model for Sudoku of a size."""

    def config(size: int, **changes: Any) -> HRMConfig:
        shape = {"vocab_size": size + 2, "seq_len": size * size}
        return dataclasses.replace(preset().model, **(shape | changes))

    return config


@pytest.fixture(scope="session")
def tiny(preset) -> Preset:
    """A run of two steps."""
    data = SudokuData(size=4, extra_givens=(4, 8), train_puzzles=30, validation_puzzles=8)
    return preset(data=data, max_steps=2, ema_decay=0.5, validate_every=250, log_every=1)


@pytest.fixture(autouse=True)
def tiny_presets(monkeypatch, tiny) -> None:
    """`tiny` beside the others; sudoku-4x4, which quickstart trains, is as small."""
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny)
    small = dataclasses.replace(tiny, name="sudoku-4x4")
    monkeypatch.setitem(presets.PRESETS, "sudoku-4x4", small)


@pytest.fixture(scope="session")
def made(tmp_path_factory, config_of, tiny) -> Path:
    """A folder with models and files; to be read only."""
    folder = tmp_path_factory.mktemp("made")
    for size in (4, 9):
        torch.manual_seed(size)
        HRM(config_of(size)).save_pretrained(folder / f"model{size}")
        puzzles = sudoku.generate(6, size, seed=1)
        sudoku.write_csv(folder / f"puzzles{size}.csv", puzzles, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", tiny)
        words = ["train", "tiny", "--device", "cpu", "--dtype", "float32"]
        assert main([*words, "--out", str(folder / "run"), "--json"]) == 0
    return folder


@pytest.fixture(scope="session")
def question(made) -> str:
    """A 9x9 Sudoku with one solution."""
    return sudoku.to_text(sudoku.read_csv(made / "puzzles9.csv").inputs[0])


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Callable[[str], Path]:
    """Writes the config file of a run of two steps from a preset."""

    def write(preset: str) -> Path:
        file = tmp_path_factory.mktemp("config") / "small.toml"
        file.write_text(SMALL.format(preset))
        return file

    return write
