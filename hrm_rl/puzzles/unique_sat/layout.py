"""Tokens of unique 3-SAT: with n variables, variable v is 4 + v and its negation 4 + n + v."""

PAD, BLANK, FALSE, TRUE, FIRST_LITERAL = range(5)
