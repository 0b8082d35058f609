import pytest
import torch
import torch.nn.functional as F

from hrm_rl.kernels.rms_norm import rms_norm
from hrm_rl.kernels.rope import rotate
from hrm_rl.model.layers import board_rotary_tables, rotary_tables
from hrm_rl.model.recurrence import attention


def test_rotation_is_a_turn_of_complex_numbers(turn) -> None:
    x = torch.randn(2, 7, 3, 8, dtype=torch.float64)
    tables = rotary_tables(7, 8, 100.0).double()
    wanted = turn(x.transpose(1, 2), 100.0).transpose(1, 2)
    torch.testing.assert_close(rotate(x, tables), wanted, atol=1e-5, rtol=1e-5)


def test_scores_on_a_board_depend_on_the_steps_down_and_across() -> None:
    q, k = torch.randn(8), torch.randn(8)
    tables = board_rotary_tables(4, 1, 8, 30.0)
    qs = rotate(q.expand(1, 17, 1, 8), tables)[0, 1:, 0].view(4, 4, 8)
    ks = rotate(k.expand(1, 17, 1, 8), tables)[0, 1:, 0].view(4, 4, 8)
    scores = torch.einsum("ijd,kld->ijkl", qs, ks)  # from (i, j) to (k, l)
    torch.testing.assert_close(scores[0, 0, 2, 1], scores[1, 2, 3, 3])
    assert not torch.isclose(scores[0, 0, 2, 1], scores[0, 0, 1, 2])  # down is not across
    assert not torch.isclose(scores[0, 3, 1, 0], scores[0, 0, 0, 1])  # rows do not run on
    # A row as one line: its first pairs turn as `rope` of the half size does.
    line = rotary_tables(4, 4, 30.0)
    torch.testing.assert_close(tables[:, 1:5, 2:4], line[:, :, :2])
    assert torch.equal(tables[:, 1:5, :2], tables[:, :1, :2].expand(2, 4, 2))


def test_rotation_in_bfloat16_is_computed_in_float32() -> None:
    x = torch.randn(1, 600, 1, 8).bfloat16()
    tables = rotary_tables(600, 8, 10000.0)
    assert torch.equal(rotate(x, tables), rotate(x.float(), tables).bfloat16())


@pytest.mark.parametrize("tokens", [5, 128, 129])
def test_attention_is_scaled_dot_product_attention(tokens) -> None:
    q, k, v = torch.randn(3, 2, 2, tokens, 4)
    torch.testing.assert_close(attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_rms_norm_of_bfloat16_is_computed_in_float32() -> None:
    x = torch.randn(4, 256).bfloat16()
    assert rms_norm(x, 1e-5).dtype == torch.bfloat16
    assert torch.equal(rms_norm(x, 1e-5), rms_norm(x.float(), 1e-5).bfloat16())
