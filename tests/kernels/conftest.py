"""Lets the kernels' tests import the helpers that lie beside them (aot.py, the checks)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
