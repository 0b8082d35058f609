"""The hash of a model: the same model has one, another model another."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hrm_rl.model import HRM
from hrm_rl.model.files.fingerprint import model_hash


def test_the_hash_stays_with_the_model(tiny_hrm: Callable[..., HRM], tmp_path: Path) -> None:
    model = tiny_hrm()
    first = model_hash(model)
    assert len(first) == 64 and int(first, 16) > 0
    assert model_hash(tiny_hrm()) == first
    model.save_pretrained(tmp_path)
    assert model_hash(HRM.from_pretrained(tmp_path)) == first
    assert model_hash(model.train()) == first


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_forward_dtype_does_not_count(tiny_hrm: Callable[..., HRM], dtype: str) -> None:
    model = tiny_hrm()
    other = HRM(dataclasses.replace(model.config, forward_dtype=dtype))
    other.load_state_dict(model.state_dict())
    assert other.H_init.dtype == getattr(torch, dtype)
    assert model_hash(other) == model_hash(model)


def test_every_tensor_and_setting_counts(tiny_hrm: Callable[..., HRM]) -> None:
    model = tiny_hrm()
    hashes = {model_hash(model), model_hash(tiny_hrm(seed=1)), model_hash(tiny_hrm(H_cycles=3))}
    assert len(hashes) == 3
    for tensor in model.state_dict().values():
        tensor.view(-1)[-1] += 0.5
        hashes.add(model_hash(model))
    assert len(hashes) == 3 + len(model.state_dict())
