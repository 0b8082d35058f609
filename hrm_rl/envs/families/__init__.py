"""Environments of the puzzle families, of ARC and of reasoning-gym."""
