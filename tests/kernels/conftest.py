"""Lets the kernels' tests import the helpers of this folder (aot.py, the checks)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
