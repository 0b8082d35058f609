"""Stopping rules side by side on recorded runs: `compare` and its typed records.

`compare` is loaded on first use, so that the settings load without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_rl.analysis.compare.run import compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    if name == "compare":
        from hrm_rl.analysis.compare.run import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
