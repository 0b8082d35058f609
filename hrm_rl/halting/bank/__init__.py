"""Trace banks: recordings of a frozen model on N puzzles, M segments each. NumPy only, no torch.

Halting never changes a frozen model's latent trajectory. So a record of every segment's features and
drafts determines the outcome of any halting rule exactly (`hrm_rl.halting.bank.replay`). `hrm-rl trace`
and `hrm_rl.evaluation.record` make banks; docs/trace-banks.md describes the file.
"""

from hrm_rl.halting.bank.bank import TraceBank
from hrm_rl.halting.bank.header import FEATURES, FORMAT_VERSION, BankHeader, puzzle_ids, puzzles_hash
from hrm_rl.puzzles.base.splits import SPLITS

__all__ = ["FEATURES", "FORMAT_VERSION", "SPLITS", "BankHeader", "TraceBank", "puzzle_ids", "puzzles_hash"]
