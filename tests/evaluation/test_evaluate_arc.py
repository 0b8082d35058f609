"""Voting with a model: its answers are those of `evaluate`, its weights those of the last segment."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hrm_rl.agents import HRMAgent
from hrm_rl.evaluation.arc import vote
from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import arc

FOLDER = Path(__file__).parents[1] / "puzzles" / "arc_tasks"
SMALL = {"hidden_size": 32, "num_heads": 2, "puzzle_emb_ndim": 32, "halt_max_steps": 4}
SMALL |= {"H_layers": 1, "H_cycles": 1, "L_cycles": 1, "L_layers": 1, "forward_dtype": "float32"}


@pytest.fixture(scope="module")
def table() -> arc.ArcTable:
    return arc.ArcTable(arc.augment(arc.read_folder(FOLDER), 1), "evaluation")


def model(table: arc.ArcTable, **settings: int) -> HRM:
    """Of random weights everywhere, so that drafts and Q values differ."""
    torch.manual_seed(0)
    given = {"vocab_size": 12, "seq_len": 900, "num_puzzle_identifiers": table.augmented.num_ids}
    network = HRM(HRMConfig(**(SMALL | given | settings)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("rule", ["fixed:2", "random:0.5"])
def test_votes_are_what_evaluation_answers(
    table: arc.ArcTable, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model(table)
    seen = []
    add = arc.Voting.add
    monkeypatch.setattr(arc.Voting, "add", lambda self, *given: (seen.append(given), add(self, *given))[1])
    voting = vote(network, table, rule, batch_size=3)
    assert voting.votes == len(table) == 8
    wanted = evaluate(network, table.arrays(), rule, batch_size=8)
    rows, answers, q_halt = (np.concatenate(column) for column in zip(*seen, strict=True))
    np.testing.assert_array_equal(answers[np.argsort(rows)], wanted.answers)
    assert (rule == "fixed:2") == (len(set(wanted.segments)) == 1)
    puzzles, said, state = table.take(slice(0, 8)), [], None
    agent = HRMAgent(network, "fixed:4")
    for segment in range(4):
        obs = {
            "inputs": torch.from_numpy(puzzles.inputs),
            "puzzle_identifiers": torch.from_numpy(puzzles.puzzle_identifiers).long(),
            "segment": torch.full((8,), segment),
        }
        decision = agent.act(obs, state)
        state = decision.state
        said.append(decision.out.q_halt.numpy())
    at_the_end = np.stack(said)[wanted.segments - 1, np.arange(8)]
    np.testing.assert_allclose(q_halt[np.argsort(rows)], at_the_end, rtol=1e-4)
    assert abs(np.diff(said, axis=0)).max() > 0.01


def test_models_of_other_puzzles_are_refused(table: arc.ArcTable) -> None:
    with pytest.raises(ValueError, match=r"900 cells and 12 tokens; .* for 81 and 12"):
        vote(model(table, seq_len=81), table)
    with pytest.raises(ValueError, match=r"has 13 identifiers, .*num_puzzle_identifiers=5"):
        vote(model(table, num_puzzle_identifiers=5), table)
