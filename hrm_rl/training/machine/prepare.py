"""Fit a preset to this machine: device, dtype, and a batch that a CPU can handle."""

import dataclasses
import logging

from hrm_rl.training.machine.compute import LONG_STEP, Compiling, Compute, choose_compute
from hrm_rl.training.presets import Preset

log = logging.getLogger(__name__)


def fit_to_machine(
    preset: Preset,
    *,
    device: str = "auto",
    dtype: str = "auto",
    compile: Compiling = "auto",
    keep_batch_size: bool = False,
) -> tuple[Preset, Compute]:
    """The preset as it will run on this machine, and how it computes.

    The dtype is the fastest measured (bfloat16 on CUDA). If a step of the preset's batch would take more than
    20 seconds on a CPU, the batch is cut to the largest power of two that does not, and the validation set
    with it, unless `keep_batch_size`; a log line reports it.
    """
    choice = choose_compute(
        preset.model,
        preset.learner,
        preset.batch_size,
        steps=preset.max_steps,
        device=device,
        dtype=dtype,
        compile=compile,
    )
    model = dataclasses.replace(preset.model, forward_dtype=choice.compute.dtype)
    preset = dataclasses.replace(preset, model=model)
    if choice.row_seconds is None or keep_batch_size:
        return preset, choice.compute
    whole = choice.row_seconds * preset.batch_size
    if whole <= LONG_STEP:
        return preset, choice.compute
    rows = max(1, 1 << int(LONG_STEP / choice.row_seconds).bit_length() - 1)
    log.info(
        "A step of %d rows would take about %.0f s on this CPU; training on %d rows instead "
        "(--batch-size %d keeps the batch, as does a GPU)",
        preset.batch_size,
        whole,
        rows,
        preset.batch_size,
    )
    data = dataclasses.replace(
        preset.data, validation_puzzles=min(preset.data.validation_puzzles, 2 * rows)
    )
    return dataclasses.replace(preset, batch_size=rows, data=data), choice.compute
