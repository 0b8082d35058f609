"""Steps of other implementations beside ours, with stand-ins for their clones."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hrm_rl.agents import LearnerConfig
from hrm_rl.bench import reference as bench
from hrm_rl.bench.clone import LucidrainsStep, ReferenceStep, clone_flops, whose
from hrm_rl.bench.timing import Samples, Way, interleaved, ratio_row
from hrm_rl.model import HRM, HRMConfig, make_model
from hrm_rl.training.machine.compute import Compute

CONFIG = HRMConfig(6, 16, hidden_size=32, num_heads=4, H_layers=1, L_layers=1)

# The part of the reference's interface that its training step uses, with one weight.
HRM_FILE = """
import torch
from flash_attn import flash_attn_func
class HierarchicalReasoningModel_ACTV1(torch.nn.Module):
    def __init__(self, settings):
        super().__init__()
        assert settings["batch_size"] == 2 and settings["hidden_size"] == 32
        self.inner = torch.nn.Module()
        self.inner.embed_tokens = torch.nn.Module()
        self.inner.embed_tokens.embedding_weight = torch.nn.Parameter(torch.zeros(6, 32))
        self.puzzle_emb = torch.nn.Module()
"""
LOSSES_FILE = """
import torch
class ACTLossHead(torch.nn.Module):
    def __init__(self, model, loss_type):
        super().__init__()
        assert loss_type == "stablemax_cross_entropy"
        self.model = model
    def initial_carry(self, batch):
        return 0
    def forward(self, return_keys, carry, batch):
        loss = self.model.inner.embed_tokens.embedding_weight[batch["inputs"].long()].sum()
        return carry + 1, loss, {"count": torch.tensor(1)}, {}, None
"""
# TRM's has another model behind the same losses; its attention comes from PyTorch.
TRM_FILE = """
import torch
import models.layers
class TinyRecursiveReasoningModel_ACTV1(torch.nn.Module):
    def __init__(self, settings):
        super().__init__()
        assert settings["L_cycles"] == 6 and settings["puzzle_emb_len"] == 16
        self.inner = torch.nn.Module()
        self.inner.embed_tokens = torch.nn.Module()
        self.inner.embed_tokens.embedding_weight = torch.nn.Parameter(torch.zeros(6, 32))
        self.puzzle_emb = torch.nn.Module()
"""
# The part of lucidrains' interface, with one product.
LUCIDRAINS_FILE = """
import torch
class HRM(torch.nn.Module):
    def __init__(self, networks, *, dim, num_tokens, reasoning_steps, relative_period):
        super().__init__()
        assert [n["depth"] for n in networks] == [1, 1] and networks[0]["ff_mult"] * dim == 256
        self.weight = torch.nn.Parameter(torch.zeros(num_tokens, dim))
    def forward(self, seq, hiddens, labels):
        logits = torch.eye(len(self.weight))[seq] @ self.weight @ self.weight.T
        carried = torch.zeros(2, 1) if hiddens is None else torch.stack(hiddens)
        assert not carried.requires_grad
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
        return loss, {0: self.weight.sum().view(1), 1: carried[0]}.values(), logits
"""
SPARSE_FILE = """
class CastedSparseEmbeddingSignSGD_Distributed:
    def __init__(self, params, world_size, lr, weight_decay): self.steps = 0
    def step(self): self.steps += 1
    def zero_grad(self): pass
"""


@pytest.fixture
def make() -> Iterator[Callable[..., Path]]:
    """Writes files of a clone, by path, in a folder."""

    def write(folder: Path, files: dict[str, str]) -> Path:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    yield write
    for name in [n for n in sys.modules if n.split(".")[0] in ("models", "HRM")]:
        del sys.modules[name]


SHARED_FILES = {"models/losses.py": LOSSES_FILE, "models/sparse_embedding.py": SPARSE_FILE}


@pytest.fixture
def clone(tmp_path, make) -> Path:
    return make(tmp_path, SHARED_FILES | {"models/hrm/hrm_act_v1.py": HRM_FILE})


def test_a_step_of_the_clone_starts_from_our_weights_and_updates_them(clone) -> None:
    weights = HRM(CONFIG)
    batch = bench.random_batch(CONFIG, 2)
    step = ReferenceStep(clone, CONFIG, weights, batch, "cpu", compile=False)
    table = weights.embed_tokens.embedding_weight
    wanted = float(table[batch["inputs"].long()].sum().detach()) / 2  # the mean of two rows
    assert step.step() == pytest.approx(wanted, rel=1e-5)
    theirs = step.optimizers[1].param_groups[0]["params"][0]
    assert not torch.equal(theirs, table)
    assert step.carry == 1 and step.optimizers[0].steps == 1
    assert "flash_attn" not in sys.modules and str(clone) not in sys.path


def test_a_folder_that_is_not_a_clone_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not a clone of sapientinc/HRM, .*models/hrm"):
        ReferenceStep(tmp_path, CONFIG, HRM(CONFIG), {}, "cpu", compile=False)


def test_a_missing_package_of_the_reference_is_named(clone) -> None:
    (clone / "models" / "losses.py").write_text("import a_package_nobody_has")
    with pytest.raises(ValueError, match="pip install a_package_nobody_has"):
        ReferenceStep(clone, CONFIG, HRM(CONFIG), {}, "cpu", compile=False)


def test_clones_of_others_are_told_apart_and_take_turns(tmp_path, make) -> None:
    """The reference and TRM both call their code `models`."""
    trm_files = {"models/recursive_reasoning/trm.py": TRM_FILE, "models/layers.py": ""}
    reference = make(tmp_path / "a", SHARED_FILES | {"models/hrm/hrm_act_v1.py": HRM_FILE})
    trm = make(tmp_path / "b", SHARED_FILES | trm_files)
    assert whose(reference) == "sapientinc/HRM" and whose(trm).endswith("TinyRecursiveModels")
    settings = {"hidden_size": 32, "num_heads": 4, "puzzle_emb_ndim": 32}
    small = HRMConfig(6, 16, **settings, **bench._TRM, H_layers=1)
    for config, folder in ((CONFIG, reference), (small, trm), (CONFIG, reference)):
        weights, batch = make_model(config), bench.random_batch(config, 2)
        step = ReferenceStep(folder, config, weights, batch, "cpu", compile=False)
        assert isinstance(step.step(), float)
        assert sys.modules["models.losses"].__file__ == str(folder / "models" / "losses.py")


def test_a_step_of_lucidrains_goes_on_from_its_state_and_its_products_are_counted(tmp_path, make) -> None:
    folder, batch = make(tmp_path, {"HRM/hrm.py": LUCIDRAINS_FILE}), bench.random_batch(CONFIG, 2)
    step = LucidrainsStep(folder, CONFIG, batch, "cpu", compile=False)
    with torch.no_grad():
        step.model.weight.normal_()
    assert step.step() > 0 and step.hiddens[0] != 0 and step.hiddens[1] == 0
    first = step.hiddens[0].clone()
    step.step()
    assert step.hiddens[1] == first and step.hiddens[0] != first  # the weights moved
    # Two rows of 16 tokens: two products forward, and for each factor that is trained one backward.
    product = 2 * 2 * 16 * 6 * 32
    assert clone_flops(folder, CONFIG, HRM(CONFIG), batch) == product * (1 + 1 + 1 + 2)


def test_our_step_is_the_learners() -> None:
    weights, batch = HRM(CONFIG), bench.random_batch(CONFIG, 2)
    steps = {
        target: bench.our_step(CONFIG, LearnerConfig(q_target=target), weights, batch, Compute())
        for target in ("full", "none")
    }
    losses = {target: [step() for _ in range(2)] for target, step in steps.items()}
    assert losses["full"][0] != losses["full"][1]  # it learned
    # The paper's target adds the loss of q_continue; both start from the same weights.
    assert losses["full"][0] > losses["none"][0] > 0


def test_ways_take_turns_under_their_own_switches() -> None:
    before, order = torch.get_float32_matmul_precision(), []

    def note(name: str) -> Way:
        def run() -> None:
            order.append((name, torch.get_float32_matmul_precision()))

        return Way(run, Compute(matmul_precision="medium" if name == "a" else "highest"))

    try:
        seconds = interleaved({"a": note("a"), "b": note("b")}, rounds=2, warm_up=1)
    finally:
        torch.set_float32_matmul_precision(before)
    assert order == [("a", "medium"), ("b", "highest")] * 3
    assert [len(samples.seconds) for samples in seconds.values()] == [2, 2]


def test_a_ratio_is_of_the_same_round() -> None:
    row = ratio_row("n", Samples([1.0, 10.0, 2.0], 0.7), Samples([2.0, 30.0, 2.0]), "other")
    sides = {"ours": 2.0, "other": 2.0, "against": "other"}
    assert row == {"name": "n", **sides, "ratio": 2.0, "spread": [1.0, 3.0], "cpu_share": 0.7}
