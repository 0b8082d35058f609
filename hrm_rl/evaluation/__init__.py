"""Running a trained model: `evaluate` answers puzzles and halts, `record` keeps every segment."""

from hrm_rl.evaluation.evaluate import Evaluation, evaluate
from hrm_rl.evaluation.record import record
from hrm_rl.evaluation.trajectories import Trajectories

__all__ = ["Evaluation", "Trajectories", "evaluate", "record"]
