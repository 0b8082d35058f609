import pytest


@pytest.fixture(autouse=True)
def timings_of_its_own(monkeypatch, tmp_path) -> None:
    """A test finds no timings of the user or of another test, and leaves none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
