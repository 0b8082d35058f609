"""Every reader of stored files against harmed ones: a result, or a refusal in one line; no file changed.

30 files a reader by default; FUZZ_FILES=500 makes 500. What is read is also used, since damage may show late.
"""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from harms import examples, harmed
from hypothesis import given
from hypothesis import strategies as st

from hrm_rl import HRM
from hrm_rl.agents.pqn.q_network import CoreConfig, HRMQNetwork, ThinkingConfig
from hrm_rl.halting import TraceBank, parse_rule
from hrm_rl.halting.bank.replay import replay
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.model.files.checkpoints import best_checkpoint, read_metrics
from hrm_rl.model.files.reference import import_reference
from hrm_rl.puzzles import arc, maze, sudoku
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.dataset import read_dataset, write_dataset
from hrm_rl.training.config import read_config, resolve
from hrm_rl.training.open_run import open_trained
from hrm_rl.training.run_folder import RunFolder

COUNT = int(os.environ.get("FUZZ_FILES", "30"))
SECONDS, MEGABYTES = 4.0, 1000
ARTIFACTS = Path(__file__).parents[1] / "pins" / "artifacts"
ARC_TASKS = Path(__file__).parents[1] / "puzzles" / "arc_tasks"

SPACE = spaces.Dict(a=spaces.Box(-1, 1, (3,)), b=spaces.Discrete(4))

Tree = dict[str, bytes]


def tree_of(path: Path) -> Tree:
    """The content of a file, or of all files in a folder."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def plant(tree: Tree, folder: Path) -> None:
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


# --- what is read, and how it is used ---------------------------------------------------------------

BANK = TraceBank.load(ARTIFACTS / "bank.safetensors")


def use_model(model: HRM) -> None:
    config = model.config
    inputs, ids = torch.zeros(1, config.seq_len, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    model(model.initial_carry(1), inputs, ids)


def use_run(folder: Path) -> None:
    trained = open_trained(folder, device="cpu")
    use_model(trained.model)
    trained.validator()
    RunFolder(folder).metrics()


def use_state(folder: Path) -> None:
    RunFolder(folder).config()
    RunFolder(folder).load_state()


def use_bank(folder: Path) -> None:
    bank = TraceBank.load(folder / "bank.safetensors")
    replay(bank, "any(q, stable:2, fixed:3)")
    bank.counts()
    if bank.width > 1:
        replay(bank, "select(stable:1, vote)")


def use_rule(spec: str) -> Callable[[Path], None]:
    def use(folder: Path) -> None:
        (file,) = folder.iterdir()
        replay(BANK, parse_rule(f"{spec}:{file}"))

    return use


def use_config(folder: Path) -> None:
    run = resolve(read_config(folder / "config.toml"))
    assert run.preset.name


def use_csv(folder: Path) -> None:
    """Both readers give the same valid puzzles, or both refuse."""
    (path,) = folder.glob("*.csv")
    module, size = {"sudoku": (sudoku, 4), "maze": (maze, 6)}[path.stem]
    try:
        table = module.read_csv(path, size)
    except ValueError:
        with pytest.raises(ValueError):
            read_csv_cached(path, None, size)
        raise
    assert module.is_valid(table.inputs, table.labels, size).all()
    cached = read_csv_cached(path, None, size).arrays()
    for field in ("inputs", "labels", "rating"):
        np.testing.assert_array_equal(getattr(cached, field), getattr(table, field))


def use_dataset(folder: Path) -> None:
    data = read_dataset(folder)
    arrays = data.arrays()
    assert arrays.inputs.shape == (8, 16) and arrays.inputs.max() < data.metadata.vocab_size
    assert len(data.epoch(np.random.default_rng(0))) <= 8


def use_arc(folder: Path) -> None:
    tasks = arc.read_folder(folder).tasks
    assert all(grid.dtype == np.uint8 and grid.max() < 10 for t in tasks for p in t.pairs for grid in p)


def use_metrics(folder: Path) -> None:
    read_metrics(folder)
    best_checkpoint(folder)


def use_reference(folder: Path) -> None:
    use_model(HRM.from_state(*import_reference(folder / "step_1.pt", 16)))


def use_network(folder: Path) -> None:
    HRMQNetwork.load(folder, SPACE)


# --- where it comes from ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    place = tmp_path_factory.mktemp("whole")
    run = ARTIFACTS / "run-sudoku"
    model = HRM.from_pretrained(run)
    model.save_pretrained(place / "model")
    sudoku.write_csv(place / "sudoku.csv", sudoku.generate(8, 4, seed=1, rate=True), 4)
    maze.write_csv(place / "maze.csv", maze.generate(8, 6, perfect=True, rate=True), 6)
    write_dataset(place / "data", train=sudoku.generate(8, 4, seed=1))
    (place / "reference").mkdir()
    torch.save({f"model.inner.{k}": t for k, t in model.state_dict().items()}, place / "reference/step_1.pt")
    config = model.config
    lines = [f"  {name}: {getattr(config, name)}" for name in config.to_dict() if name not in ("vocab_size",)]
    (place / "reference/all_config.yaml").write_text("\n".join(["arch:", *lines, ""]))
    (place / "metrics.jsonl").write_text('{"step": 12, "eval/exact_accuracy": 0.5}\n' * 3)
    core = CoreConfig(hidden_size=16, num_heads=2, H_layers=1, L_layers=1)
    HRMQNetwork(SPACE, 2, core, ThinkingConfig()).save(place / "network")
    found = {name: tree_of(place / name) for name in ("model", "data", "reference", "network")}
    found |= {
        name: tree_of(ARTIFACTS / f"{name}.safetensors") for name in ("bank", "lsm", "voc", "calm", "pqn")
    }
    (place / "wide").mkdir()
    toy_bank(6, num_segments=3, width=3).save(place / "wide/bank.safetensors")
    return found | {
        "wide": tree_of(place / "wide"),
        "run": tree_of(run),
        "dqn": tree_of(ARTIFACTS / "dqn.zip"),
        "csv": tree_of(place / "sudoku.csv"),
        "csv of mazes": tree_of(place / "maze.csv"),
        "arc": tree_of(ARC_TASKS),
        "metrics": {**tree_of(place / "metrics.jsonl"), **tree_of(run)},
        "toml": {"config.toml": TOML.encode()},
    }


TOML = """preset = "sudoku-4x4"
batch_size = 4
max_steps = 2
device = "cpu"
dtype = "float32"
seed = 3

[model]
hidden_size = 16
num_heads = 2

[learner]
lr = 0.001
betas = [0.9, 0.95]

[data]
train_puzzles = 20
extra_givens = [4, 8]
"""

READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "run": ("run", use_run),
    "state": ("run", use_state),
    "model": ("model", lambda folder: use_model(HRM.from_pretrained(folder))),
    "bank": ("bank", use_bank),
    "wide": ("wide", use_bank),
    "lsm": ("lsm", use_rule("lsm")),
    "voc": ("voc", use_rule("voc")),
    "calm": ("calm", use_rule("calm")),
    "pqn": ("pqn", use_rule("pqn")),
    "sb3": ("dqn", use_rule("sb3:dqn")),
    "config": ("toml", use_config),
    "csv": ("csv", use_csv),
    "csv of mazes": ("csv of mazes", use_csv),
    "dataset": ("data", use_dataset),
    "arc": ("arc", use_arc),
    "metrics": ("metrics", use_metrics),
    "reference": ("reference", use_reference),
    "network": ("network", use_network),
}


@pytest.mark.parametrize("name", READERS)
def test_a_harmed_file_is_read_or_refused_in_one_line(
    name: str, trees: dict[str, Tree], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("yaml")
    kind, use = READERS[name]
    whole = trees[kind]

    @examples(COUNT, usual=30)
    @given(st.data())
    def fuzz(data: Any) -> None:
        victim = data.draw(st.sampled_from(sorted(whole)))
        tree = whole | {victim: data.draw(harmed(victim, whole[victim]))}
        folder = tmp_path_factory.mktemp("harmed")
        plant(tree, folder)
        start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            use(folder)
        except (ValueError, OSError) as error:
            message = str(error)
            assert message and "Traceback" not in message and len(message) < 1000, message
        assert time.process_time() - start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
        left = tree_of(folder)
        assert {key: left.get(key) for key in tree} == tree

    fuzz()
