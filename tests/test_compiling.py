"""Compiled code that cannot be kept costs time only."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest

from hrm_rl import compiling, files

SOURCE = """
from hrm_rl.compiling import njit

@njit()
def twice(number):
    return 2 * number
"""


@pytest.fixture
def load(tmp_path, monkeypatch, caplog):
    """Loads a module with a compiled function, as a new process would."""

    def load() -> ModuleType:
        caplog.clear()
        compiling._use.cache_clear()
        compiling._note.cache_clear()
        monkeypatch.setattr(numba.config, "CACHE_DIR", "")
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        spec = importlib.util.spec_from_file_location("doubled", tmp_path / "doubled.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.twice(21) == 42
        return module

    # In the environment first, so that it is restored.
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "doubled.py").write_text(SOURCE, encoding="utf-8")
    return load


def nowhere(tmp_path: Path, monkeypatch) -> None:
    """Files stand where cache folders would be, which stops root too."""
    (tmp_path / "__pycache__").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "doubled.py"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.skipif(os.name != "posix", reason="homes are of POSIX")
def test_kept_in_a_temporary_folder_with_one_line(load, tmp_path, monkeypatch, caplog) -> None:
    nowhere(tmp_path, monkeypatch)
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    place = tmp_path / f"hrm_rl-{os.getuid()}"
    for hits in (0, 1):
        assert sum(load().twice.stats.cache_hits.values()) == hits
        (line,) = caplog.messages
        assert f"kept in {place}" in line and "NUMBA_CACHE_DIR names another" in line
    place.chmod(0o777)  # anyone could have put code into it
    load()
    assert "compiles its code at every start" in caplog.text


def test_without_any_folder_compiled_each_time(load, tmp_path, monkeypatch, caplog) -> None:
    nowhere(tmp_path, monkeypatch)
    monkeypatch.setattr(compiling, "temporary_folder", lambda: None)
    assert not load().twice.stats.cache_hits
    (line,) = caplog.messages
    assert "compiles its code at every start" in line


def test_a_damaged_cache_is_made_again_and_a_full_disk_noted(load, tmp_path, monkeypatch, caplog) -> None:
    load()
    for file in (tmp_path / "__pycache__").glob("*.nb?"):
        whole = file.read_bytes()
        for content in (b"", whole[:-9], b"\xff" + whole[1:]):
            file.write_bytes(content)
            load()
            assert sum(load().twice.stats.cache_hits.values()) == 1

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for file in (tmp_path / "__pycache__").glob("*.nb?"):
        file.unlink()
    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    load()
    assert "No space left" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="homes are of POSIX")
@pytest.mark.parametrize(
    ("place", "variable", "name"),
    [
        ("place_triton_cache", "TRITON_CACHE_DIR", "triton"),
        ("place_inductor_cache", "TORCHINDUCTOR_CACHE_DIR", "inductor"),
    ],
)
@pytest.mark.parametrize(
    ("home", "given", "moves"),
    [("", None, False), ("", "default", False), ("file", None, True), ("", "file", True)],
)
def test_caches_of_compilers_move_too(
    place, variable, name, home, given, moves, tmp_path, monkeypatch
) -> None:
    """From a home, or a folder that the user named, which cannot be written."""
    from hrm_rl.kernels import dispatch

    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TRITON_HOME", str(tmp_path / home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
    default = "torch._inductor.runtime.cache_dir_utils.default_cache_dir"
    monkeypatch.setattr(default, lambda: str(tmp_path / "default"))
    monkeypatch.setenv(variable, str(tmp_path / given) if given else "")
    getattr(dispatch, place).__wrapped__()
    wanted = tmp_path / "tmp" / f"hrm_rl-{os.getuid()}" / name
    stays = str(tmp_path / given) if given else ""
    stays = str(tmp_path / "hrm_rl" / "inductor") if name == "inductor" else stays
    assert os.environ[variable] == (str(wanted) if moves else stays)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="homes are of POSIX")
def test_commands_run_from_a_package_that_cannot_be_written(tmp_path) -> None:
    package = Path(compiling.__file__).parent
    copy = tmp_path / "site" / "hrm_rl"
    for file in package.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            (copy / file.relative_to(package)).parent.mkdir(parents=True, exist_ok=True)
            (copy / file.relative_to(package)).write_bytes(file.read_bytes())
    for folder in (copy, *filter(Path.is_dir, copy.rglob("*"))):
        (folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    place = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-m", "hrm_rl", "puzzles", "sudoku", "--size", "4", "--show"],
        env=kept | place | {"PYTHONPATH": str(copy.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "Compiled code" in done.stderr


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("rows", [0, 1, 255, 1000])
def test_parts_come_in_their_order_on_any_number_of_processors(monkeypatch, cpus, rows) -> None:
    monkeypatch.setattr(compiling, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    whole = np.arange(rows)
    parts = compiling.by_parts(lambda part: 2 * part, whole)
    assert (np.concatenate(parts) == 2 * whole).all() and len(parts) == max(1, -(-rows // 256))


def test_the_first_error_ends_the_work(monkeypatch) -> None:
    monkeypatch.setattr(compiling, "usable_cpus", lambda: 2)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    begun = []

    def fails(part):
        begun.append(part)
        raise ValueError(f"no puzzle {part[0]}")

    with pytest.raises(ValueError, match="no puzzle 0"):
        compiling.by_parts(fails, np.arange(256 * 1000))
    assert len(begun) < 1000
