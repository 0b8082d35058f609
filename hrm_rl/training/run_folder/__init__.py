"""A run on disk: its configuration, its log and its checkpoints, each of which appears whole or not at all.

RUN/config.json                     the resolved preset and how it computes
RUN/config.toml                     the same, as a file for `hrm-rl train --config`
RUN/learned.npy                     `puzzle_keys` of the puzzles it learns from
RUN/metrics.jsonl                   one JSON object a log line
RUN/events.out.tfevents.*           for TensorBoard, which names a run by the folder of these files
RUN/checkpoints/step-0000500/       config.json + model.safetensors (what is evaluated),
                                    state.safetensors (what a resume needs besides), run.json (the
                                    configuration, step and versions) and checksums.sha256
"""

from hrm_rl.training.run_folder.configuration import as_stored, read_config_json, version_note
from hrm_rl.training.run_folder.folder import RunFolder

__all__ = ["RunFolder", "as_stored", "read_config_json", "version_note"]
