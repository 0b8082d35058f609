"""The loop around a learner: presets, compute, checkpoints, logging, evaluation."""
