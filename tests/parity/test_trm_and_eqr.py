"""Segments of the public TRM and EqR, recorded from their own code, against the models imported here.

trm_and_eqr.safetensors holds what their networks returned in float32, in evaluation mode, over four segments
on five puzzles. Their weights were set by `formula` in the alphabetical order of the tensors' names, whose
shapes are in the metadata beside the settings and the commits. TRM started from its initial states, EqR from
`formula(2000)` and `formula(2001)` with noise_scale 0. To record anew: make each model of its settings, load
the weights, call `inner` segment by segment, and store logits, q_halt and the last states.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hrm_rl.hashing import stream, uniform
from hrm_rl.model import Carry, PuzzleModel

FILE = Path(__file__).with_name("trm_and_eqr.safetensors")
CASES = ("trm_attention", "trm_mixer", "eqr_mixer", "eqr_board")
TOLERANCE = 1e-4


def formula(number: int, shape: list[int]) -> Tensor:
    """Uniform numbers with the variance 1 / (4 x the last dimension): the recursion is not chaotic."""
    count = torch.Size(shape).numel()
    x = 2 * uniform(stream(torch.tensor(number), torch.arange(count))) - 1
    return (x * (0.75 / shape[-1]) ** 0.5).view(shape)


def recorded(case: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """The settings, the weights, and what the public code returned."""
    with safe_open(FILE, "pt") as file:
        meta = json.loads(file.metadata()["meta"])["cases"][case]
        names = [name for name in file.keys() if name.startswith(case)]  # noqa: SIM118
        found = {name.removeprefix(f"{case}."): file.get_tensor(name) for name in names}
    state = {name: formula(n, shape) for n, (name, shape) in enumerate(meta["shapes"].items())}
    return meta["arch"], state, found


@pytest.fixture(params=CASES)
def imported(request: Any, tmp_path: Path) -> tuple[str, PuzzleModel, dict[str, Tensor]]:
    yaml = pytest.importorskip("yaml")
    arch, state, found = recorded(request.param)
    torch.save(state, tmp_path / "step_7")
    (tmp_path / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch | {"name": "its code"}}))
    from hrm_rl.model.files.reference import import_reference

    return request.param, PuzzleModel.from_state(*import_reference(tmp_path, 16)), found


def test_every_segment_is_that_of_the_public_code(imported: Any) -> None:
    case, model, found = imported
    inputs = (stream(torch.tensor(1000), torch.arange(80)) % 6).abs().view(5, 16)
    carry = model.initial_carry(5)
    if case.startswith("eqr"):
        states = [formula(number, [5, 16, 32]) * 128**0.5 for number in (2000, 2001)]
        assert not carry.z_H.any()
        carry = Carry(*states)
    for segment in range(4):
        with torch.no_grad():
            out = model(carry, inputs, torch.arange(5) % 3)
        carry = out.carry
        ours = {"logits": out.logits, "q_halt": out.q_halt, "z_H": carry.z_H, "z_L": carry.z_L}
        for name, tensor in ours.items():
            if f"{segment}.{name}" in found:
                error = (tensor - found.pop(f"{segment}.{name}")).abs().max()
                assert error <= TOLERANCE, (segment, name, float(error))
        assert not out.q_continue.any()  # never trained there
    assert not found
