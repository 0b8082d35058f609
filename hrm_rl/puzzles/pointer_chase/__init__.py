"""Pointer chase: follow the arrows of a map from a start, one hop after the other."""

from hrm_rl.puzzles.base.dials import module_functions
from hrm_rl.puzzles.pointer_chase.chase import PointerChase
from hrm_rl.puzzles.pointer_chase.layout import BLANK, FIRST_NODE, PAD

__all__ = ["BLANK", "FIRST_NODE", "PAD", "PointerChase"]

__getattr__ = module_functions(PointerChase)
