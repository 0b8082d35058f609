"""What a command's process is set up with."""

import subprocess
import sys

import pytest

import hrm_rl.process


@pytest.mark.parametrize(
    ("argv", "original", "expected"),
    [
        (["/usr/bin/hrm-rl", "eval"], [], True),
        (["C:\\hrm-rl.exe".replace("C:\\", "/")], [], True),
        (["-m"], ["python", "-u", "-m", "hrm_rl", "train"], True),
        (["-m"], ["python", "-m", "hrm_rl.cli"], True),
        (["-m"], ["python", "-m", "hrm_rl.agents"], False),
        (["/usr/bin/pytest", "-m", "slow"], ["python", "/usr/bin/pytest"], False),
        (["mine.py"], ["python", "mine.py"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_a_command_is_known_by_its_name(monkeypatch, argv, original, expected) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert hrm_rl.process.is_command() == expected


def test_a_program_that_imports_the_package_keeps_its_handlers() -> None:
    code = """
import os, signal
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
import hrm_rl
assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
print("GOMP_SPINCOUNT" in os.environ)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, hrm_rl.process.SPINS),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ({"OMP_WAIT_POLICY": ""}, hrm_rl.process.SPINS),
    ],
)
def test_settings_of_openmp_are_the_users_first(monkeypatch, given, expected) -> None:
    environment = {name: value for name, value in given.items()}
    monkeypatch.setattr(hrm_rl.process, "end_on_signals", lambda: None)
    monkeypatch.setattr("os.environ", environment)
    hrm_rl.process.prepare_command()
    assert environment.get("GOMP_SPINCOUNT") == expected
