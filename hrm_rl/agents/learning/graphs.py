"""A learner and an agent whose steps are replayed CUDA graphs: hundreds of launches become one.

    learner = GraphedLearner(model, num_envs, config)     # instead of Learner
    agent = GraphedAgent(model, rule)                     # instead of HRMAgent

They compute what `Learner` and `HRMAgent` compute, on static memory (`Captured`). The environment, the
exploration's draws, the learning rate's schedule and the rule for stopping stay outside the graphs.
**What a call returns is overwritten by the next one**: by the next `act` if `act` returned it, by the next
`act` or `learn` if `learn` did. Read or copy it before that.

On other devices the same functions run again instead of being replayed, which serves the tests.
"""

from typing import Any, get_args

import torch
from torch import Tensor

from hrm_rl.agents.hrm_agent import AgentState, HRMAgent, SegmentResult
from hrm_rl.agents.learning.config import LearnerConfig
from hrm_rl.agents.learning.learner import Learner
from hrm_rl.agents.learning.update import JudgedSegment, Update
from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.envs import Judgement
from hrm_rl.halting import HaltingRule, Memory, SegmentFeatures
from hrm_rl.kernels.graphs import Captured, Recorder, Tensors, make_recorder, overwrite
from hrm_rl.model import Carry, ReasoningModel, SegmentOutput
from hrm_rl.settings import Switch

# Steps (of the agent: segments of a number of rows) that run eagerly before one is recorded: kernels compile,
# the optimizers make their state.
WARM_UP_STEPS = 3
_OBSERVED = ("inputs", "puzzle_identifiers", "segment")
_SHOWN = ("logits", "q_halt", "q_continue")
_JUDGED = ("correct", "segments", "cell_accuracy")


def wants_graphs(graphs: Switch, device: str, config: LearnerConfig | None = None, ranks: int = 1) -> bool:
    """Whether to replay CUDA graphs; `auto` does on a CUDA device, if the learner's steps can be recorded.

    Raises ValueError if they were asked for and cannot be.
    """
    if graphs not in get_args(Switch):
        raise ValueError(f"graphs must be auto, yes or no, got {graphs!r}")
    if graphs == "no" or (graphs == "auto" and ranks > 1):
        return False
    try:
        if not device.startswith("cuda"):
            raise ValueError(f"--graphs yes needs a CUDA device; this would compute on {device}")
        if config is not None:
            check_can_be_graphed(config)
    except ValueError:
        if graphs == "yes":
            raise
        return False
    return True


def check_can_be_graphed(config: LearnerConfig) -> None:
    """Raises ValueError if the steps of a learner are not all alike, or not all on the device."""
    if config.stopping.whole_episodes:
        raise ValueError(
            f"CUDA graphs need steps that are all alike; with halting_loss {config.halting_loss!r} not "
            "every step learns"
        )
    if config.optimizer == "muon":
        raise ValueError("CUDA graphs do not record optimizer 'muon': --graphs no, or take adamw")
    name, _, every = config.q_target.partition(":")
    if name == "every" and float(every) > 1:
        raise ValueError(
            f"CUDA graphs need steps that are all alike; with q_target {config.q_target!r} they are not "
            "(subsample:P spends as little on every step)"
        )


class GraphedLearner(Learner):
    """`Learner`, replayed: one graph for `act`, one for `learn`, the environment's step between them.

    The first `WARM_UP_STEPS` steps after construction or `load_state_dict` run eagerly; the next one is
    recorded. `carry` is static memory: do not assign to it. `learn` takes what the last `act` returned.

    `recorder` records and replays; by default what the model's device has. Raises ValueError as
    `check_can_be_graphed`.
    """

    def __init__(
        self,
        model: ReasoningModel,
        num_envs: int,
        config: LearnerConfig | None = None,
        *,
        recorder: Recorder | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        check_can_be_graphed(config or LearnerConfig())
        if ranks.count > 1:
            raise ValueError(
                f"CUDA graphs replay the step of one process, not of {ranks.count} ranks: --graphs no"
            )
        super().__init__(model, num_envs, config)
        self._recorder = recorder
        self._begin()

    def _begin(self) -> None:
        """Static memory without a recording; the next steps warm up."""
        device = self.model.device
        recorder = self._recorder or make_recorder(device)
        self._acting, self._learning = (Captured(f, recorder) for f in (self._act, self._learn))
        self._learned = 0
        self._step_now = torch.zeros((), dtype=torch.int64, device=device)
        self._shown: SegmentOutput | None = None
        # The segment with its autograd graph, from `_act` to `_learn`.
        self._segment: SegmentOutput | None = None
        self._rates = []
        for optimizer in self.optimizers:
            fused_adam = isinstance(optimizer, torch.optim.AdamW) and device.type == "cuda"
            # PyTorch's fused AdamW reads its learning rate as float32.
            dtype = torch.float32 if fused_adam else torch.float64
            rate = torch.zeros((), dtype=dtype, device=device)
            self._rates.append(rate)
            for group in optimizer.param_groups:
                group["lr"] = rate
                if "capturable" in group:
                    group["capturable"] = device.type == "cuda"

    @property
    def _warms_up(self) -> bool:
        # Both are recorded in the same step: the backward pass goes through the recorded segment.
        return self._learned < WARM_UP_STEPS

    # --- acting --------------------------------------------------------------------------------

    def act(self, obs: dict[str, Tensor]) -> tuple[SegmentOutput, dict[str, Tensor]]:
        """As `Learner.act`; without gradient, and overwritten by the next call."""
        self._check_rows(obs)
        self._step_now.fill_(self.step)
        # The floor is drawn outside the graph.
        given = {name: obs[name] for name in _OBSERVED} | {"floor": self._explore(obs["segment"])}
        found = self._acting(given, warm_up=self._warms_up)
        carry = Carry(found["z_H"], found["z_L"])
        self._shown = SegmentOutput(carry, *(found[name] for name in _SHOWN))
        return self._shown, {"answer": found["answer"], "halt": found["halt"]}

    def _act(self, given: Tensors) -> Tensors:
        self._segment = None  # frees the graph of a segment without a `learn`
        self._segment = out = self.think(given)
        action = self.decide(out, given["segment"], given["floor"])
        shown = {name: getattr(out, name).detach() for name in _SHOWN}
        return out.carry._asdict() | shown | action

    # --- learning ------------------------------------------------------------------------------

    def _update(self, segment: JudgedSegment) -> Update:
        """As `Learner`; overwritten by the next call.

        Raises ValueError if `out` is not what the last `act` returned.
        """
        out, obs, labels, ended, judged = segment
        if out is not self._shown:
            raise ValueError("with CUDA graphs learn() takes what the last act() returned")
        for rate, value in zip(self._rates, self.scheduled_rates(), strict=True):
            rate.fill_(value)
        given = {name: obs[name] for name in _OBSERVED[:2]} | {"labels": labels, "ended": ended}
        given |= {name: getattr(judged, name) for name in _JUDGED}
        found = self._learning(given, warm_up=self._warms_up)
        self._shown = None
        self._learned += 1
        self.step += 1
        return Update.of(found)

    def _learn(self, given: Tensors) -> Tensors:
        assert self._segment is not None
        carry, memory = self.carry, self._target_rule.memory
        labels, ended, judged = given["labels"], given["ended"], Judgement.of(given)
        update = super()._update(JudgedSegment(self._segment, given, labels, ended, judged))
        self._segment = None
        # Copy what the next step reads into the memory that this one read.
        overwrite(carry._asdict(), self.carry._asdict())
        self.carry = carry
        new = self._target_rule.memory
        if memory is not None and new is not None:
            for held, tensor in zip(memory, new, strict=True):
                held.copy_(tensor)
            self._target_rule.memory = memory
        else:
            self._target_rule.memory = new and tuple(tensor.clone() for tensor in new)
        return update.tensors()

    def apply_gradients(self) -> None:
        """Take one optimizer step; its rate and step number are already in static memory."""
        self._step_optimizers()

    @property
    def clock(self) -> Tensor:
        return self._step_now

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state of a `Learner`, which can load it; copies of what the next step overwrites."""
        state = super().state_dict()
        for optimizer in state["optimizers"]:
            for group in optimizer["param_groups"]:
                group["lr"] = float(group["lr"])
                if "capturable" in group:
                    group["capturable"] = False
        memory = state["target_memory"]
        return state | {
            "carry": tuple(z.clone() for z in state["carry"]),
            "target_memory": memory and tuple(t.clone() for t in memory),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of either learner and drop recordings, so that the next steps warm up again."""
        super().load_state_dict(state)
        self.carry = Carry(*(z.clone() for z in self.carry))
        memory = self._target_rule.memory
        self._target_rule.memory = memory and tuple(t.clone() for t in memory)
        self._begin()


class GraphedAgent(HRMAgent):
    """`HRMAgent`, replayed: one graph for every number of rows, of the segment and its features; the rule
    runs outside.

    Each number of rows costs a recording and static memory: keep them few (`evaluate` takes powers of
    two). The first `WARM_UP_STEPS` segments of each run eagerly, the next one is recorded. The returned
    state is static memory: a stored state changes with the next segment.

    `recorder` records and replays; the other arguments and the errors are those of `HRMAgent`.
    """

    def __init__(
        self,
        model: ReasoningModel,
        rule: HaltingRule | str = "q",
        *,
        recorder: Recorder | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, rule, **options)
        self._recorder = recorder or make_recorder(model.device)
        self._buckets: dict[int, _Bucket] = {}

    def _think(self, obs: dict[str, Tensor], state: AgentState, puzzle_key: Tensor) -> SegmentResult:
        rows = len(puzzle_key)
        if rows not in self._buckets:
            self._buckets[rows] = _Bucket(self, rows, self._recorder)
        given = {name: obs[name] for name in (*_OBSERVED, "trajectory") if name in obs}
        given["puzzle_key"] = puzzle_key
        return self._buckets[rows].think(given, state)

    def think_eagerly(self, given: Tensors, state: AgentState) -> SegmentResult:
        return super()._think(given, state, given["puzzle_key"])


class _Bucket:
    """The static memory of one number of rows."""

    def __init__(self, agent: GraphedAgent, rows: int, recorder: Recorder) -> None:
        self._agent = agent
        blank = agent.initial_state(rows)
        # Clones: fields of a blank memory share theirs.
        memory = Memory(*(t.clone() for t in blank.memory))
        self._state = AgentState(blank.carry, memory)
        self._thinking = Captured(self._think, recorder)
        self._run = 0

    def think(self, given: Tensors, state: AgentState) -> SegmentResult:
        self._hold(state)
        found = self._thinking(given, warm_up=self._run < WARM_UP_STEPS)
        self._run += 1
        out = SegmentOutput(self._state.carry, *(found[name] for name in _SHOWN))
        # A rule may keep a feature, which must not change under it.
        columns: Any = [found[name].clone() if name in found else None for name in SegmentFeatures._fields]
        return SegmentResult(out, SegmentFeatures(*columns), self._state.memory, found["draft"])

    @torch.no_grad()
    def _think(self, given: Tensors) -> Tensors:
        out, features, memory, draft = self._agent.think_eagerly(given, self._state)
        self._hold(AgentState(out.carry, memory))
        found = {name: value for name, value in features._asdict().items() if value is not None}
        return found | {"logits": out.logits, "draft": draft}

    def _hold(self, new: AgentState) -> None:
        overwrite(self._state.carry._asdict(), new.carry._asdict())
        overwrite(self._state.memory._asdict(), new.memory._asdict())
