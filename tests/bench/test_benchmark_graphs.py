import gc
import weakref

from hrm_rl.bench import graphs as benchmark_graphs
from hrm_rl.bench.graphs import graph_rows
from hrm_rl.model import HRMConfig

CONFIG = HRMConfig(
    5, 4, hidden_size=16, num_heads=2, H_layers=1, L_layers=1, forward_dtype="float32"
)


def test_rows_are_benchs_with_a_segment_and_a_step_a_batch() -> None:
    rows = list(graph_rows("cpu", 3, CONFIG, batches=(1, 2)))
    assert [row["name"] for row in rows] == [
        "graph.segment.h16.s4.b1",
        "graph.segment.h16.s4.b2",
        "graph.train_step.full.h16.s4.b1",
        "graph.train_step.full.h16.s4.b2",
    ]
    for row in rows:
        assert row.keys() >= {"name", "ours", "other", "against", "ratio", "spread"}
        assert 0 < row["ours"] < 10 and row["spread"][0] <= row["ratio"] <= row["spread"][1]


def test_what_a_row_recorded_is_gone_before_the_next(monkeypatch) -> None:
    """Else its memory stays, and destroying it may fall into another recording."""
    made = []

    def noting(kind):
        def make(*arguments):
            made.append(weakref.ref(graphed := kind(*arguments)))
            return graphed

        return make

    for name in ("GraphedAgent", "GraphedLearner"):
        monkeypatch.setattr(benchmark_graphs, name, noting(getattr(benchmark_graphs, name)))
    gc.disable()
    try:
        for _ in graph_rows("cpu", 3, CONFIG, batches=(1, 2)):
            assert all(ref() is None for ref in made[:-1])
    finally:
        gc.enable()
    assert len(made) == 4
