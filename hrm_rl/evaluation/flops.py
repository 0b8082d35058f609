"""Floating-point operations of a segment, counted from the model's configuration: compute without a clock."""

from hrm_rl.model import HRMConfig


def segment_gflop(config: HRMConfig) -> dict[str, float]:
    """GFLOP of one segment of one puzzle: `segment` is all of it, `logits` the product with the vocabulary in
    it, which a rule that reads no probability needs at the answer only.

    Matrix products and attention count, a multiply-add as two operations; elementwise operations do not.
    """
    tokens, width = config.prefix_len + config.seq_len, config.hidden_size
    # qkv and output, scores and mixing, gate, up and down.
    block = 2 * tokens * width * (4 * width + 2 * tokens + 3 * config.swiglu_width)
    blocks = config.H_cycles * (config.L_cycles * config.L_layers + config.H_layers)
    logits = 2 * config.seq_len * width * config.vocab_size
    return {"segment": (blocks * block + logits + 4 * width) / 1e9, "logits": logits / 1e9}
