"""Running a trained model: `evaluate` answers puzzles and halts, `record` keeps every segment."""

from hrm_rl.evaluation.evaluate import Evaluation, evaluate
from hrm_rl.evaluation.record import record

__all__ = ["Evaluation", "evaluate", "record"]
