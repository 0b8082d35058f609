"""Tokens of the pointer chase: node j is FIRST_NODE + j."""

PAD, BLANK, FIRST_NODE = range(3)
