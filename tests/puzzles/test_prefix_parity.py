import numpy as np

from hrm_rl.puzzles import IGNORE_LABEL, prefix_parity
from hrm_rl.puzzles.prefix_parity import ONE, PAD, ZERO


def test_labels_are_the_running_exclusive_or():
    puzzles = prefix_parity.generate(50, seed=3, length=20, min_length=5)
    for bits, labels in zip(puzzles.inputs, puzzles.labels, strict=True):
        odd = False
        for bit, label in zip(bits, labels, strict=True):
            odd ^= bool(bit == ONE)
            assert label == (IGNORE_LABEL if bit == PAD else ONE if odd else ZERO)


def test_lengths_are_uniform_and_padding_is_behind():
    puzzles = prefix_parity.generate(4000, length=8, min_length=5)
    is_bit = puzzles.inputs != PAD
    assert (np.diff(is_bit.astype(int), axis=1) <= 0).all()
    lengths, counts = np.unique(is_bit.sum(axis=1), return_counts=True)
    np.testing.assert_array_equal(lengths, [5, 6, 7, 8])
    assert (abs(counts - 1000) < 150).all()


def test_bits_are_fair_and_differ_beyond_a_word_of_64():
    bits = prefix_parity.generate(500, length=200).inputs == ONE
    assert (abs(bits.mean(axis=0) - 0.5) < 0.12).all()
    assert abs(np.corrcoef(bits[:, :64].ravel(), bits[:, 64:128].ravel())[0, 1]) < 0.03


def test_a_class_is_its_bits_whatever_the_padding():
    rows = prefix_parity.generate(20, length=12).inputs
    padded = np.pad(rows, ((0, 0), (0, 8)))
    keys = prefix_parity.class_key(rows, length=12)
    np.testing.assert_array_equal(prefix_parity.class_key(padded, length=20), keys)
    longer = padded.copy()
    longer[:, 12] = ZERO
    assert not np.isin(prefix_parity.class_key(longer, length=20), keys).any()


def test_answers_behind_the_bits_do_not_count():
    row = np.array([ONE, ONE, ZERO, PAD])
    right = [ONE, ZERO, ZERO]
    for behind in range(3):
        assert prefix_parity.is_valid(row, np.array([*right, behind]), length=4)


def test_the_drawing_marks_mistakes():
    row, draft = np.array([ONE, ONE, ZERO, PAD]), np.array([ONE, ONE, ZERO, PAD])
    labels = np.array([ONE, ZERO, ZERO, IGNORE_LABEL])
    text = prefix_parity.draw(row, draft=draft, labels=labels, length=4)
    assert text == "bits    1  1  0  ·\nparity  1 *1* 0  ·"
