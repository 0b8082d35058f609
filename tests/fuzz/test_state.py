"""Training states that were changed, with checksums to match: the run goes on, or is refused in one line."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from harms import NASTY, examples, places, replaced
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from hrm_rl.cli import main
from hrm_rl.model.files.checksums import STATE_FILE, write_checksums
from hrm_rl.model.files.tensors import write_tensors

COUNT = int(os.environ.get("FUZZ_FILES", "15"))
SMALL = (
    "--batch-size 4 --model.hidden-size 16 --model.num-heads 2 --data.train-puzzles 20 --dtype float32 "
    "--data.validation-puzzles 4 --device cpu --compile no --threads 1 --log-every 10"
)
FORMS = ("adam", "atan2", "episode", "lambda")
OPTIONS = {
    "adam": "--learner.optimizer adamw --model.puzzle-emb-ndim 0",
    "atan2": "--learner.optimizer adam-atan2 --model.puzzle-emb-ndim 16 --ema-decay 0.9",
    "episode": "--learner.halting-loss act",
    "lambda": "--learner.q-target lambda:0.5",
}


@pytest.fixture(scope="module", params=FORMS)
def run(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state") / "run"
    words = f"train sudoku-4x4 --max-steps 3 {SMALL} {OPTIONS[request.param]} --out {folder}"
    assert main(words.split()) == 0
    return folder


def harmed_tensor(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "cut":
        return tensor.reshape(-1)[: tensor.numel() // 2].clone()
    if kind == "scalar":
        return torch.zeros((), dtype=tensor.dtype)
    if kind == "float" or kind == "int":
        return tensor.to(torch.float32 if kind == "float" else torch.int64)
    if tensor.is_floating_point():
        return torch.full_like(tensor, {"high": 1e30, "low": -1e30}[kind])
    if tensor.dtype == torch.bool:
        return ~tensor
    ends = torch.iinfo(tensor.dtype)
    return torch.full_like(tensor, ends.max if kind == "high" else ends.min)


def test_a_harmed_state_is_refused(run: Path, tmp_path: Path, capsys: Any) -> None:
    (checkpoint,) = (run / "checkpoints").glob("step-0000003")
    with safe_open(checkpoint / STATE_FILE, "pt") as file:
        structure = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    @examples(COUNT, usual=15)
    @given(st.data())
    def fuzz(data: Any) -> None:
        changed, packed = dict(tensors), structure
        if data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(tensors)))
            kind = data.draw(st.sampled_from(["cut", "scalar", "float", "int", "high", "low"]))
            changed[name] = harmed_tensor(tensors[name], kind)
        else:
            path = data.draw(st.sampled_from(places(structure)))
            new = data.draw(st.sampled_from([*NASTY, {"tensor": "none"}, {"mapping": []}, {"tuple": []}]))
            packed = replaced(structure, path, lambda _: new)
        copy = tmp_path / "run"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        folder = copy / "checkpoints" / checkpoint.name
        write_tensors(folder / STATE_FILE, changed, {"state": json.dumps(packed)})
        write_checksums(folder)
        capsys.readouterr()
        code = main(["train", "--resume", "--out", str(copy), "--max-steps", "4", "--no-progress"])
        said = capsys.readouterr().err
        assert code in (0, 1, 2) and "Traceback" not in said, said

    fuzz()
