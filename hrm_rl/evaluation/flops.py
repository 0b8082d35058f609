"""Floating-point operations of a segment, counted from the model's configuration: compute without a clock."""

from hrm_rl.model import HRMConfig


def segment_gflop(config: HRMConfig) -> dict[str, float]:
    """GFLOP of one segment of one puzzle: `segment` is all of it, `logits` the product with the vocabulary in
    it, which a rule that reads no probability needs at the answer only.

    Matrix products and attention count, a multiply-add as two operations; elementwise operations do not.
    """
    tokens, width = config.tokens, config.hidden_size
    # qkv and output, scores and mixing; or the mixer's gate, up and down over tokens.
    mix = 3 * config.mixer_shape[1] if config.mixer_shape else 4 * width + 2 * tokens
    block = 2 * tokens * width * (mix + 3 * config.swiglu_width)
    logits = 2 * config.seq_len * width * config.vocab_size
    return {"segment": (config.segment_blocks * block + logits + 4 * width) / 1e9, "logits": logits / 1e9}
