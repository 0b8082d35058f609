"""The configuration of a training run: a preset, then a TOML file, then options of the command line.

    preset = "sudoku-4x4"      # the base: settings not given here are the preset's
    max_steps = 3000

    [model]
    hidden_size = 128

A file's tables are `[model]` (HRMConfig), `[learner]` (LearnerConfig) and `[data]` (SudokuData, or FamilyData
with a table `[data.dials]`); the rest is at the top level. A later layer wins over an earlier one.
"""

from hrm_rl.training.config.layers import Layer
from hrm_rl.training.config.resolve import FREE_ON_RESUME, Run, resolve, resume
from hrm_rl.training.config.settings import RunSettings, given_settings, option, settings, settings_table
from hrm_rl.training.config.toml import read_config, to_toml

__all__ = [
    "FREE_ON_RESUME",
    "Layer",
    "Run",
    "RunSettings",
    "given_settings",
    "option",
    "read_config",
    "resolve",
    "resume",
    "settings",
    "settings_table",
    "to_toml",
]
