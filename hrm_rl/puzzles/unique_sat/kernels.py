"""The compiled core of unique 3-SAT: make formulas with one solution, count solutions, hash classes.

A literal is a number: variable v is v, its negation v + n. A formula is literals int64 [M, 3], -1 in the
rows that hold no clause. While a formula is made, sets of assignments are bit sets: bit b of word w stands
for the assignment 64 w + b, whose bit v is the value of variable v.
"""

import numpy as np

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base.counter_rng import below, mix64, shuffle

# Assignments of the six lowest variables in which each is true, as bits of a word.
_LOW = np.array([sum(1 << b for b in range(64) if b >> v & 1) for v in range(6)], np.uint64)
_ONE, _ALL, _NONE = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0)
_LITERAL, _SELF = np.uint64(0x2545F4914F6CDD1D), np.uint64(0xA0761D6478BD642F)
_REFINEMENTS = 8


@njit(nogil=True)
def _falsified(clause, n):
    """What makes a clause false: (bits of a word, the high bits of the word that count, their values)."""
    bits, mask, value = _ALL, np.int64(0), np.int64(0)
    for i in range(3):
        variable = clause[i] % n
        negated = clause[i] >= n
        if variable < 6:
            bits &= _LOW[variable] if negated else ~_LOW[variable]
        else:
            mask |= np.int64(1) << (variable - 6)
            if negated:
                value |= np.int64(1) << (variable - 6)
    return bits, mask, value


@njit(nogil=True)
def _random_clause(stream, planted, n, clause):
    """Three different variables with random signs, true under the assignment `planted`."""
    while True:
        a, b, c = below(stream, n), below(stream, n - 1), below(stream, n - 2)
        if b >= a:
            b += 1
        low, high = min(a, b), max(a, b)
        if c >= low:
            c += 1
        if c >= high:
            c += 1
        signs = below(stream, 8)
        true = False
        for i, variable in enumerate((a, b, c)):
            negated = (signs >> i) & 1
            clause[i] = variable + n * negated
            if ((planted >> variable) & 1) != negated:
                true = True
        if true:
            return


@njit(nogil=True)
def _same(clause, other):
    """Whether two clauses hold the same literals."""
    for i in range(3):
        if clause[i] != other[0] and clause[i] != other[1] and clause[i] != other[2]:
            return False
    return True


@njit(nogil=True)
def make_formulas(keys, n, extra, formulas, solutions, accepted):
    """Fill formulas int64 [N, M, 3], preset to -1, and the assignments that solve them, int64 [N].

    Random clauses true under a random assignment, each of which rules out something new, until nothing else
    is left; then every clause, in random order, goes that rules out nothing by itself; then `extra` further
    clauses come, and all are shuffled. A formula that needs more than M - extra clauses is not accepted.
    """
    room = formulas.shape[1] - extra
    words = max(1, (1 << n) // 64)
    whole = _ALL if n >= 6 else (_ONE << np.uint64(1 << n)) - _ONE
    alive = np.empty(words, np.uint64)
    covered = np.empty(words, np.uint64)
    most = max(16 * n, formulas.shape[1])
    suffix = np.empty((most + 1, words), np.uint64)
    clauses = np.empty((most, 3), np.int64)
    clause = np.empty(3, np.int64)
    stream = np.empty(1, np.uint64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        planted = below(stream, 1 << n)
        solutions[k] = planted
        alive[:] = whole
        alive[planted >> 6] &= ~(_ONE << np.uint64(planted & 63))
        count = 0
        left = words
        while left and count < most:
            _random_clause(stream, planted, n, clause)
            bits, mask, value = _falsified(clause, n)
            new = _NONE
            for w in range(words):
                if w & mask == value:
                    new |= alive[w] & bits
            if new == _NONE:
                continue
            left = 0
            for w in range(words):
                if w & mask == value:
                    alive[w] &= ~bits
                left += alive[w] != _NONE
            clauses[count] = clause
            count += 1

        _shuffle(stream, clauses, count)
        suffix[count] = _NONE
        for i in range(count - 1, -1, -1):
            bits, mask, value = _falsified(clauses[i], n)
            for w in range(words):
                suffix[i, w] = suffix[i + 1, w] | (bits if w & mask == value else _NONE)
        covered[:] = _NONE
        kept = 0
        for i in range(count):
            bits, mask, value = _falsified(clauses[i], n)
            bits &= whole
            alone = _NONE
            for w in range(words):
                if w & mask == value:
                    alone |= bits & ~(covered[w] | suffix[i + 1, w])
            if alone == _NONE:
                continue
            for w in range(words):
                if w & mask == value:
                    covered[w] |= bits
            clauses[kept] = clauses[i]
            kept += 1

        accepted[k] = left == 0 and kept <= room
        if not accepted[k]:
            continue
        total = kept
        while total < kept + extra:
            _random_clause(stream, planted, n, clause)
            known = False
            for i in range(total):
                known |= _same(clause, clauses[i])
            if not known:
                clauses[total] = clause
                total += 1
        _shuffle(stream, clauses, total)
        for i in range(total):
            formulas[k, i] = clauses[i]


@njit(nogil=True)
def _shuffle(stream, clauses, count):
    for i in range(count - 1, 0, -1):
        j = below(stream, i + 1)
        for c in range(3):
            clauses[i, c], clauses[j, c] = clauses[j, c], clauses[i, c]


@njit(nogil=True)
def _assign(formula, n, values, literal):
    """Set a literal (-1 for none) and what single open literals force; return False at a contradiction.

    values int8 [2 n] holds 1 for a true literal, 0 for a false one, -1 for an open one.
    """
    if literal >= 0:
        values[literal], values[(literal + n) % (2 * n)] = 1, 0
    again = True
    while again:
        again = False
        for row in range(len(formula)):
            if formula[row, 0] < 0:
                continue
            opened, unit, true = 0, np.int64(-1), False
            for i in range(3):
                literal = formula[row, i]
                if values[literal] == 1:
                    true = True
                    break
                if values[literal] < 0:
                    opened += 1
                    unit = literal
            if true or opened > 1:
                continue
            if opened == 0:
                return False
            values[unit], values[(unit + n) % (2 * n)] = 1, 0
            again = True
    return True


@njit(nogil=True)
def _search(formula, n, order, limit, solution):
    """DPLL over variables in `order`: (solutions up to `limit`, decisions); a first solution goes to
    `solution` int64 [n]. A decision is a variable of which both values had to be tried."""
    values = np.full((n + 1, 2 * n), -1, np.int8)  # by level
    tried = np.empty(n + 1, np.int64)  # the literal set at each level
    level, found, decisions = 0, 0, 0
    sound = _assign(formula, n, values[0], -1)
    while True:
        variable = -1
        if sound:
            for candidate in order:
                if values[level, candidate] < 0:
                    variable = candidate
                    break
        if variable >= 0:
            decisions += 1
            level += 1
            tried[level] = variable
        else:
            if sound:
                if found == 0:
                    solution[:] = values[level, :n]
                found += 1
                if found >= limit:
                    return found, decisions
            while level and tried[level] >= n:  # both values are done
                level -= 1
            if level == 0:
                return found, decisions
            tried[level] += n
        values[level] = values[level - 1]
        sound = _assign(formula, n, values[level], tried[level])


@njit(nogil=True)
def count_formulas(formulas, n, limit, counts, solutions):
    """Number of solutions up to `limit` of formulas int64 [N, M, 3], and a first one, int64 [N, n]."""
    order = np.arange(n)
    for k in range(len(formulas)):
        counts[k], _ = _search(formulas[k], n, order, limit, solutions[k])


@njit(nogil=True)
def mean_decisions(formulas, keys, n, copies, ratings):
    """Decisions to find all solutions, mean over orders of the variables that depend on keys [N]."""
    order, solution = np.arange(n), np.empty(n, np.int64)
    stream = np.empty(1, np.uint64)
    for k in range(len(formulas)):
        stream[0] = keys[k]
        total = 0
        for _ in range(copies):
            shuffle(stream, order)
            total += _search(formulas[k], n, order, 1 << 62, solution)[1]
        ratings[k] = total / copies


@njit(nogil=True)
def refine(formulas, n, keys):
    """Colour refinement of literals by their clauses and their negations; all sums commute."""
    old, new = np.empty(2 * n, np.uint64), np.empty(2 * n, np.uint64)
    for k in range(len(formulas)):
        old[:] = _LITERAL
        for _ in range(_REFINEMENTS):
            for literal in range(2 * n):
                new[literal] = mix64(old[literal] ^ _SELF) + mix64(~old[(literal + n) % (2 * n)])
            for row in range(formulas.shape[1]):
                if formulas[k, row, 0] < 0:
                    continue
                color = _NONE
                for i in range(3):
                    color += mix64(old[formulas[k, row, i]])
                color = mix64(color)
                for i in range(3):
                    new[formulas[k, row, i]] += color
            for literal in range(2 * n):
                old[literal] = mix64(new[literal])
        total = mix64(np.uint64(n))
        for literal in range(2 * n):
            total += old[literal]
        keys[k] = mix64(total)
