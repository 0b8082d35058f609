"""Text files of every platform, and names of files in every locale."""

import json
import os
import subprocess
import sys

import pytest

from hrm_rl.cli import main
from hrm_rl.files import encoding_of, local_path, portable_path, read_text, write_text
from hrm_rl.puzzles import sudoku
from hrm_rl.training.config import read_config
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.run_folder import RunFolder, read_config_json

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_byte_order_marks_are_read_in_every_text_file(tmp_path, preset, encoding) -> None:
    def rewrite(file, text: str):
        (tmp_path / file).write_text(text, encoding=encoding)
        return tmp_path / file

    assert read_text(rewrite("a.txt", "données")) == "données"
    assert read_config(rewrite("a.toml", 'preset = "sudoku-4x4"  # données\n')).preset
    RunFolder(tmp_path / "run").create(preset(), Compute())
    stored = tmp_path / "run" / "config.json"
    assert read_config_json(rewrite("c.json", read_text(stored))) == read_config_json(stored)
    sudoku.write_csv(tmp_path / "p.csv", sudoku.generate(3, 4), 4)
    text = read_text(tmp_path / "p.csv").replace("\n,", "\ndonnées,")
    assert "données" in str(sudoku.read_csv(rewrite("q.csv", text)).source)


def test_text_is_written_as_utf8_and_keeps_bytes_of_names(tmp_path) -> None:
    write_text(tmp_path / "a", "é\udcff\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\xff\n"
    assert encoding_of(b"\xc3\xa9\xff\n") == "utf-8-sig"


def test_a_path_is_stored_as_it_reads_in_utf8(tmp_path, monkeypatch) -> None:
    name = str(tmp_path / "données.csv")
    open(name, "w", encoding="utf-8").close()
    assert portable_path(name) == local_path(name) == name
    for encoding in ("ascii", "latin-1"):  # of another locale
        monkeypatch.setattr(os, "fsencode", lambda text, e=encoding: text.encode(e, "surrogateescape"))
        monkeypatch.setattr(os, "fsdecode", lambda text, e=encoding: text.decode(e, "surrogateescape"))
        local = name.encode().decode(encoding, "surrogateescape")
        with monkeypatch.context() as patch:
            patch.setattr(os.path, "exists", lambda path, local=local: path == local)
            assert portable_path(local) == name and local_path(name) == local
    assert portable_path("\udcff") == "\udcff"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="locales are of POSIX")
def test_a_run_of_another_locale_goes_on_in_this_one(tmp_path) -> None:
    data = tmp_path / "données.csv"
    sudoku.write_csv(data, sudoku.generate(100, 4, extra_givens=(2, 6)), 4)
    words = ["sudoku-4x4", "--data", data, "--out", tmp_path / "r", "--max-steps", "2"]
    words += ["--batch-size", "4", "--model.hidden-size", "16", "--dtype", "float32"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "hrm_rl", "train", *words], env=os.environ | locale, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(read_text(tmp_path / "r" / "config.json"))["preset"]["data"]["file"] == str(data)
    assert main(["train", "--resume", "--out", str(tmp_path / "r"), "--max-steps", "3"]) == 0
    config = str(tmp_path / "r" / "config.toml")
    assert main(["train", "--config", config, "--out", str(tmp_path / "s")]) == 0
