"""The benchmark beside a busy process: two short rounds with its own workers and neighbour."""

import json
import os

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
@pytest.mark.slow
def test_rows_of_every_way_and_work(script, capsys) -> None:
    crowded = script("crowded")
    crowded.main(crowded.Args(rounds=1, seconds=0.0, json=True))
    result = json.loads(capsys.readouterr().out)
    assert [(row["way"], row["work"]) for row in result["rows"]] == [
        (way, work) for way in ("ours", "default", "one") for work in ("step", "segment")
    ]
    assert all(row["quiet_seconds"] > 0 and row["beside_over_quiet"] > 0 for row in result["rows"])
