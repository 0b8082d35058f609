import gc
import weakref

from hrm_rl.bench import graphs as benchmark_graphs
from hrm_rl.bench.graphs import graph_rows
from hrm_rl.model import HRMConfig

CONFIG = HRMConfig(5, 4, hidden_size=16, num_heads=2, H_layers=1, L_layers=1, forward_dtype="float32")


def test_rows_are_measured_one_by_one_and_leave_no_recording(monkeypatch) -> None:
    """A kept recording would hold its memory, and its destruction might spoil another recording."""
    made = []

    def noting(kind):
        def make(*arguments):
            made.append(weakref.ref(graphed := kind(*arguments)))
            return graphed

        return make

    for name in ("GraphedAgent", "GraphedLearner"):
        monkeypatch.setattr(benchmark_graphs, name, noting(getattr(benchmark_graphs, name)))
    plain = {name: way for name, way in benchmark_graphs._WAYS.items() if "compiled" not in name}
    monkeypatch.setattr(benchmark_graphs, "_WAYS", plain)
    names = []
    gc.disable()
    try:
        for row in graph_rows("cpu", 3, CONFIG, batches=(1, 2)):
            assert all(ref() is None for ref in made[:-1])
            names.append(row["name"])
            assert row.keys() >= {"name", "ours", "other", "against", "ratio", "spread"}
            assert 0 < row["ours"] < 10 and row["spread"][0] <= row["ratio"] <= row["spread"][1]
    finally:
        gc.enable()
    kinds = ("segment", "train_step.full")
    assert names == [f"graph.{kind}.h16.s4.b{rows}" for kind in kinds for rows in (1, 2)]
    assert len(made) == 4
