"""Many seeds and settings of one training, as one study: `sweep`, behind `hrm-rl sweep STUDY.toml`."""

from hrm_rl.sweep.run import sweep
from hrm_rl.sweep.study import Study, Trial, read_study

__all__ = ["Study", "Trial", "read_study", "sweep"]
