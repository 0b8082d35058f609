"""Loading an example of the checkout as a module."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the examples; skips the test outside a checkout."""
    if not EXAMPLES.is_dir():
        pytest.skip("runs in a checkout")
    return EXAMPLES


@pytest.fixture(scope="session")
def load_example(examples: Path) -> Callable[[str], ModuleType]:
    """Imports an example by the name of its file."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, examples / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load
