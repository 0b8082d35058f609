"""Unique 3-SAT: find the one assignment that makes a formula true."""

from hrm_rl.puzzles.base.dials import module_functions
from hrm_rl.puzzles.unique_sat.formula import Solved, UniqueSAT
from hrm_rl.puzzles.unique_sat.layout import BLANK, FALSE, FIRST_LITERAL, PAD, TRUE

__all__ = ["BLANK", "FALSE", "FIRST_LITERAL", "PAD", "TRUE", "Solved", "UniqueSAT"]

__getattr__ = module_functions(UniqueSAT)
