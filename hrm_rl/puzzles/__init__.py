"""Puzzle families: generate, tokenise, check, augment, rate, draw. NumPy and numba, no torch.

One family a module (``hrm_rl.puzzles.sudoku``, ...), loaded when asked for; here are only the records
that all of them share.
"""

from hrm_rl.puzzles.source import IGNORE_LABEL, PuzzleArrays, Symmetry

__all__ = ["IGNORE_LABEL", "PuzzleArrays", "Symmetry"]
