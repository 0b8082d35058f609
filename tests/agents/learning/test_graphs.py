"""Learner and agent on static memory give what the plain ones give, bit for bit.

On a CPU twice: run again in Python, and replayed from a tape without it (tests/tape.py), which is what a
CUDA graph does. What only a GPU can show is marked so.
"""

import contextlib
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hrm_rl.agents import HRMAgent, Learner, LearnerConfig
from hrm_rl.agents.learning.graphs import WARM_UP_STEPS, GraphedAgent, GraphedLearner, wants_graphs
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.kernels.graphs import Captured, CudaRecorder, Rerun, make_recorder
from hrm_rl.model.noise import Noise

TARGETS = ["full", "subsample:0.25", "delayed", "lambda:0.5", "none", "every:1"]


@pytest.fixture(scope="module")
def start(loop_kind, easy_source):
    """Makes a training loop that keeps copies of what every step showed."""

    class Game(loop_kind):
        def __init__(self, learner: Learner, source: Any = easy_source) -> None:
            super().__init__(learner, source)
            self.seen: list[dict[str, torch.Tensor]] = []

        def step(self) -> None:
            update = super().step()
            shown = {"logits": self.out.logits, "q_halt": self.out.q_halt, **self.action}
            shown |= {"z_L": self.out.carry.z_L, "terminated": self.terminated}
            shown |= {f"metric.{name}": value for name, value in update.items()}
            self.seen.append({name: value.detach().clone() for name, value in shown.items()})

        def play(self, steps: int) -> "Game":
            self.steps(steps)
            return self

    return Game


def assert_same_run(a: Any, b: Any, last: int = 0) -> None:
    """All that the (last) steps showed, and what they left behind."""
    torch.testing.assert_close(a.seen[-last:], b.seen[-last:], rtol=0, atol=0)
    a.check_equals(b)


@pytest.fixture(params=["rerun", "tape"])
def recorder(request, tape):
    return Rerun() if request.param == "rerun" else tape()


@pytest.fixture
def model(hrm):
    """Makes the same model every time, whose rows end at different segments."""

    def make(**changes: Any):
        model = hrm(**({"halt_exploration_prob": 0.5} | changes))
        torch.manual_seed(3)
        torch.nn.init.normal_(model.q_head.weight)
        torch.nn.init.constant_(model.q_head.bias, -1.0)
        return model

    return make


def config(**changes: Any) -> LearnerConfig:
    settings: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-2, "warmup_steps": 4, "seed": 3}
    settings |= {"lr_min_ratio": 0.1, "total_steps": 8}  # the rate changes at every step
    return LearnerConfig(**(settings | changes))


# --- the learner ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        *(({}, {"q_target": target}) for target in TARGETS),
        ({"puzzle_emb_ndim": 16}, {}),
        ({}, {"exploration": "episode"}),
        ({}, {"gradient": "full", "token_loss": "softmax"}),
        ({"halt_max_steps": 1}, {}),
        ({}, {"random_start": True, "path_noise": 0.1}),
        ({"halt_exploration_prob": 0.0}, {"gamma": 0.9, "segment_cost": 0.01}),
        ({"forward_dtype": "bfloat16", "puzzle_emb_ndim": 8}, {"q_target": "delayed"}),
    ],
)
def test_replayed_steps_are_bit_for_bit_the_plain_ones(model, start, tape, shape, changes) -> None:
    c = config(**changes)
    plain = start(Learner(model(**shape), 8, c)).play(8)
    for recorder in (Rerun(), tape()):
        graphed = start(GraphedLearner(model(**shape), 8, c, recorder=recorder)).play(8)
        assert_same_run(plain, graphed)
        assert graphed.learner._acting.is_recorded and graphed.learner._learning.is_recorded
    assert recorder.replays == 2 * (8 - WARM_UP_STEPS - 1)
    ended = torch.stack([step["terminated"] for step in plain.seen])
    assert ended.any() and (shape == {"halt_max_steps": 1} or not ended.all())  # some carries kept


def test_adam_atan2_is_replayed_and_rounds_as_little_otherwise(model, start, tape, monkeypatch) -> None:
    """Its step counter is read beside the parameters then, so eager rounds in another order."""
    c = config(optimizer="adam-atan2", weight_decay=0.1, lr=1e-3)
    replayed = start(GraphedLearner(model(), 8, c, recorder=tape())).play(8)
    plain = start(Learner(model(), 8, c)).play(8)
    for name, tensor in plain.learner.model.state_dict().items():
        other = replayed.learner.model.state_dict()[name]
        torch.testing.assert_close(other, tensor, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("hrm_rl.agents.learning.graphs.WARM_UP_STEPS", 100)  # never recorded
    run = start(GraphedLearner(model(), 8, c)).play(8)
    assert not run.learner._acting.is_recorded
    assert_same_run(run, replayed)


@pytest.mark.parametrize(
    ("target", "optimizer"), [("full", "adam-atan2"), ("delayed", "adamw"), ("lambda:0.5", "adamw")]
)
def test_a_resume_is_bit_for_bit_the_run(model, start, tape, target, optimizer) -> None:
    """Into a learner that has recorded already."""
    c = config(q_target=target, optimizer=optimizer, exploration="episode")

    whole, first, second = (
        start(GraphedLearner(model(puzzle_emb_ndim=16), 8, c, recorder=tape())) for _ in range(3)
    )
    whole.play(10), first.play(5), second.play(6)
    second.take_up(first).play(5)
    assert_same_run(whole, second, last=5)
    assert second.learner._acting.is_recorded


def test_a_state_does_not_follow_the_static_memory(model, start) -> None:
    game = start(GraphedLearner(model(), 8, config(q_target="delayed"))).play(5)
    state = game.learner.state_dict()
    taken = [t.clone() for t in (*state["carry"], *state["target_memory"])]
    for steps in (2, 5):
        game.play(steps)
        assert all(map(torch.equal, taken, (*state["carry"], *state["target_memory"])))
        game.learner.load_state_dict(state)


@pytest.mark.parametrize("graphed_first", [True, False])
def test_checkpoints_go_from_one_learner_to_the_other(model, start, tape, graphed_first) -> None:
    c = config(q_target="delayed")
    whole = start(Learner(model(), 8, c)).play(10)
    plain = start(Learner(model(), 8, c))
    graphed = start(GraphedLearner(model(), 8, c, recorder=tape()))
    first, second = (graphed, plain) if graphed_first else (plain, graphed)
    first.play(5)
    for group in (g for o in first.learner.state_dict()["optimizers"] for g in o["param_groups"]):
        assert type(group["lr"]) is float
    second.take_up(first).play(5)
    assert_same_run(whole, second, last=5)


def test_a_segment_may_be_run_again_before_it_is_learned_from(model, start, recorder) -> None:
    """In the warm-up, at the recording and after it."""
    c = config()
    plain = start(Learner(model(), 8, c))
    graphed = start(GraphedLearner(model(), 8, c, recorder=recorder))
    for game in (plain, graphed):
        for _ in range(6):
            kept = game.learner.generator.get_state()
            game.learner.act(game.obs)
            game.learner.generator.set_state(kept)
            game.play(1)
    assert_same_run(plain, graphed)


def test_learning_from_another_segment_is_refused(model, start) -> None:
    game = start(GraphedLearner(model(), 8, config()))
    out, action = game.learner.act(game.obs)
    _, _, terminated, _, info = game.envs.step(action)
    game.learner.act(game.obs)
    with pytest.raises(ValueError, match="takes what the last act"):
        game.learner.learn(out, game.obs, game.info["labels"], terminated, info)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q_target": "every:2"}, "'every:2'.*subsample:P"),
        ({"halting_loss": "act"}, "'act'"),
        ({"halting_loss": "ponder"}, "'ponder'"),
        ({"optimizer": "muon"}, "'muon'.*adamw"),
    ],
)
def test_steps_that_are_not_alike_are_refused(model, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        GraphedLearner(model(), 8, LearnerConfig(**changes))


# --- static memory --------------------------------------------------------------------------------


def test_outputs_stay_in_their_place_and_inputs_are_copied(recorder) -> None:
    total = torch.zeros(2)

    def function(given):
        total.add_(given["x"])
        return {"total": total.clone(), "x": given["x"]}

    run = Captured(function, recorder)
    x = torch.ones(2)
    run({"x": x}, warm_up=True)
    x.fill_(10.0)
    first = run({"x": x})
    assert first["total"].tolist() == [11.0, 11.0]
    x.fill_(-1.0)  # the caller's memory is the caller's
    assert first["x"].tolist() == [10.0, 10.0]
    again = run({"x": torch.full((2,), 100.0)})
    assert again["total"] is first["total"] and first["total"].tolist() == [111.0, 111.0]


@pytest.mark.parametrize(
    "inputs", [{"y": torch.ones(2)}, {"x": torch.ones(1)}, {"x": torch.ones(2).double()}]
)
def test_other_inputs_are_refused(recorder, inputs) -> None:
    """A row copied into many would go unnoticed."""
    run = Captured(lambda given: {"x": given["x"] + 1}, recorder)
    run({"x": torch.ones(2)})
    with pytest.raises(ValueError, match="x"):
        run(inputs)


def test_a_cpu_has_no_graphs() -> None:
    assert isinstance(make_recorder(torch.device("cpu")), Rerun)


# --- the agent ------------------------------------------------------------------------------------


def decisions(agent: HRMAgent, source: Any, steps: int) -> list[dict]:
    """What an agent decides, some rows let go in the middle, each kept as a copy."""
    limit = agent.model.config.halt_max_steps
    envs = PuzzleVectorEnv(8, source, halt_max_steps=limit, device=source.device)
    obs, info = envs.reset(seed=1)
    state, found = None, []
    for step in range(steps):
        if step in (6, 12):
            rows = torch.arange(0, envs.num_envs, 2, device=source.device)
            envs, state = envs.take_rows(rows), state.take_rows(rows)
            obs, info = envs.current()
        decision = agent.act(obs, state, puzzle_key=info["puzzle_key"])
        obs, _, _, _, info = envs.step(decision.action)
        state = decision.state
        shown = decision.features._asdict() | decision.action | decision.out._asdict()
        shown |= dict(zip(("z_H", "z_L"), shown.pop("carry"), strict=True))
        found.append({k: v.clone() for k, v in shown.items() if v is not None})
    return found


@pytest.mark.parametrize("rule", ["q", "stable:1", "recall(confidence:0.3)", "random:0.4"])
def test_a_replayed_agent_decides_as_the_plain_one(model, easy_source, recorder, rule) -> None:
    noise = Noise(start=True, path=0.2) if rule == "stable:1" else None
    plain = decisions(HRMAgent(model(), rule, noise=noise), easy_source, 18)
    agent = GraphedAgent(model(), rule, recorder=recorder, noise=noise)
    graphed = decisions(agent, easy_source, 18)
    torch.testing.assert_close(graphed, plain, rtol=0, atol=0)
    assert sorted(agent._buckets) == [2, 4, 8]
    assert getattr(recorder, "replays", 6) == 18 - (WARM_UP_STEPS + 1) * 3


def test_a_replayed_agent_follows_the_weights(model, easy_source, tape) -> None:
    network = model()
    agent = GraphedAgent(network, "fixed:9", recorder=tape())
    before = decisions(agent, easy_source, 6)
    with torch.no_grad():
        network.lm_head.weight.neg_()
    after = decisions(agent, easy_source, 6)
    assert torch.equal(before[3]["logits"], -after[3]["logits"])


def test_what_is_garbage_goes_before_a_recording_begins(monkeypatch) -> None:
    """A dropped graph that goes while another is recorded spoils it."""

    class Node:
        pass

    garbage = Node()
    garbage.itself = garbage
    left, recorded = weakref.ref(garbage), []
    del garbage

    @contextlib.contextmanager
    def graph(*_: Any, **__: Any) -> Any:
        assert left() is None
        yield

    fake = SimpleNamespace(replay=lambda: recorded.append(0))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: fake)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    outputs, _ = CudaRecorder(torch.device("cpu")).record(lambda: {"x": torch.ones(1)})
    assert outputs["x"] == 1 and recorded == [0]


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.fixture
def source_on_gpu(make_source):
    return make_source(device="cuda")


@pytest.mark.parametrize(
    ("graphs", "device", "changes", "ranks", "found"),
    [
        ("auto", "cuda", {}, 1, True),
        ("auto", "cuda:1", {"q_target": "subsample:0.5"}, 1, True),
        ("auto", "cpu", {}, 1, False),
        ("auto", "cuda", {"q_target": "every:2"}, 1, False),
        ("auto", "cuda", {"optimizer": "muon"}, 1, False),
        ("auto", "cuda", {}, 2, False),
        ("no", "cuda", {}, 1, False),
        ("yes", "cuda", {}, 1, True),
        ("yes", "cpu", {}, 1, "needs a CUDA device"),
        ("yes", "cuda", {"q_target": "every:2"}, 1, "every:2"),
        (True, "cuda", {}, 1, "must be auto, yes or no, got True"),
    ],
)
def test_a_run_replays_graphs_where_it_can(graphs, device, changes, ranks, found) -> None:
    if isinstance(found, str):
        with pytest.raises(ValueError, match=found):
            wants_graphs(graphs, device, config(**changes), ranks)
    else:
        assert wants_graphs(graphs, device, config(**changes), ranks) is found


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adamw", "adam-atan2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("target", [t for t in TARGETS if t != "every:1"])
def test_on_a_gpu_replayed_steps_are_those_of_the_plain_learner(
    model, start, source_on_gpu, target, dtype, optimizer
) -> None:
    """To within what the learning rate loses as float32, which PyTorch's AdamW wants it in."""
    c = config(q_target=target, optimizer=optimizer, lr=1e-3)
    shape = {"puzzle_emb_ndim": 16, "forward_dtype": dtype}
    plain, graphed = (
        start(kind(model(**shape).to("cuda"), 8, c), source_on_gpu).play(8)
        for kind in (Learner, GraphedLearner)
    )
    assert graphed.learner._learning.is_recorded
    tolerance = dict.fromkeys(("rtol", "atol"), 1e-4 if dtype == "float32" else 2e-2)
    for one, other in zip(plain.seen[:6], graphed.seen[:6], strict=True):
        torch.testing.assert_close(one["logits"], other["logits"], **tolerance)


@pytest.mark.gpu
def test_on_a_gpu_a_replayed_agent_decides_as_the_plain_one(model, source_on_gpu) -> None:
    plain = decisions(HRMAgent(model().to("cuda"), "q"), source_on_gpu, 18)
    graphed = decisions(GraphedAgent(model().to("cuda"), "q"), source_on_gpu, 18)
    for one, other in zip(plain, graphed, strict=True):
        torch.testing.assert_close(one["logits"], other["logits"], rtol=1e-4, atol=1e-4)
