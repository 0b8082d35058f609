from hrm_rl.model import HRMConfig
from hrm_rl.training.benchmark_graphs import graph_rows


def test_rows_are_benchs_with_a_segment_and_a_step_a_batch() -> None:
    config = HRMConfig(5, 4, hidden_size=16, num_heads=2, H_layers=1, L_layers=1)
    rows = list(graph_rows("cpu", 3, config, batches=(1, 2)))
    assert [row["name"] for row in rows] == [
        "graph.segment.h16.s4.b1",
        "graph.segment.h16.s4.b2",
        "graph.train_step.full.h16.s4.b1",
        "graph.train_step.full.h16.s4.b2",
    ]
    for row in rows:
        assert row.keys() >= {"name", "ours", "other", "against", "ratio", "spread"}
        assert 0 < row["ours"] < 10 and row["spread"][0] <= row["ratio"] <= row["spread"][1]
