"""Tokens and dials of the pointer chase; see `pointer_chase`."""

from hrm_rl.puzzles.family import Dial, check_dials

PAD, BLANK, FIRST_NODE = 0, 1, 2
DIALS = (
    Dial("nodes", 16, 2, 512, "nodes of the map"),
    Dial("hops", 8, 1, 511, "hops of the longest chase, fewer than nodes"),
    Dial("min_hops", None, 1, 511, "hops of the shortest; without it all are of one length"),
    Dial("trajectory", False, None, None, "ask for every node on the way, not for the last alone"),
)


def check_all(nodes: int, hops: int, min_hops: int | None, trajectory: bool) -> None:
    """ValueError for a dial out of range, alone or beside another."""
    dials = {"nodes": nodes, "hops": hops, "min_hops": min_hops, "trajectory": trajectory}
    check_dials(DIALS, dials)
    if hops >= nodes:
        raise ValueError(f"hops must be 1 to {nodes - 1}, fewer than the {nodes} nodes; got {hops}")
    if min_hops is not None and min_hops > hops:
        raise ValueError(f"min_hops must be 1 to hops={hops}, got {min_hops}")
