"""Lets the kernels' tests import the helpers of this folder (aot.py, the checks)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def triton_by_name(monkeypatch) -> None:
    monkeypatch.setenv("HRM_KERNELS", "triton")
