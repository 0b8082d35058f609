"""One process a run folder."""

import os
import subprocess
import sys

import pytest

from hrm_rl.training.run_folder.lock import LOCK_FILE, FolderLock

HOLD = """
import sys
from hrm_rl.training.run_folder.lock import FolderLock
lock = FolderLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock of tmp_path / "run"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_refused_until_the_first_is_dead(tmp_path, holder) -> None:
    lock = FolderLock(tmp_path / "run")
    with pytest.raises(BlockingIOError, match=f"run is in use by process {holder.pid} on .*--out"):
        lock.acquire()
    holder.kill()  # which leaves the file
    holder.communicate()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    with lock:
        assert (tmp_path / "run" / LOCK_FILE).read_text().split()[0] == str(os.getpid())
    assert list((tmp_path / "run").iterdir()) == []


def test_a_failed_start_leaves_nothing(tmp_path) -> None:
    with pytest.raises(ValueError), FolderLock(tmp_path / "run").kept_on_success():
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_folder_is_refused(tmp_path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError, match=f"{name} already exists and is not a folder"):
            FolderLock(tmp_path / name).acquire()


def test_a_process_may_have_a_lock_twice(tmp_path) -> None:
    with FolderLock(tmp_path), FolderLock(tmp_path) as second:
        second.acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_serves_with_a_warning(tmp_path, monkeypatch, caplog) -> None:
    def refuse(file: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("hrm_rl.training.run_folder.lock._lock", refuse)
    with FolderLock(tmp_path):
        pass
    assert "cannot be locked (Function not implemented)" in caplog.text
