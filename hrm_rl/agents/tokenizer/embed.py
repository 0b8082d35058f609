"""The kinds of tokens as modules: values of one part in, [B, tokens, D] out.

Every table and projection starts with a standard deviation that makes the entries of a token about
1/sqrt(D); `ObsTokenizer` multiplies by sqrt(D), as HRM does with its embeddings.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_rl.agents.tokenizer.plan import Part
from hrm_rl.model.layers import truncated_normal_


class CategoricalTokens(nn.Module):
    """A row of a table for every value; the channels of a cell are summed.

    Values outside the declared range count as the nearest inside: no index can leave the table.
    """

    low: Tensor
    high: Tensor
    offset: Tensor

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__()
        self.part = part
        low, high = (torch.tensor(bound, dtype=torch.int64) for bound in (part.low, part.high))
        offset = torch.cumsum(high - low + 1, 0) - (high - low + 1)
        # One table a channel, shared by all cells; or one a token, of MultiDiscrete.
        shape = (1, part.channels) if len(low) == part.channels else (part.tokens, 1)
        for name, value in (("low", low), ("high", high), ("offset", offset - low)):
            self.register_buffer(name, value.view(shape), persistent=False)
        rows = int((high - low + 1).sum())
        std = 1 / math.sqrt(hidden_size * part.channels)
        self.table = nn.Parameter(truncated_normal_(torch.empty(rows, hidden_size), std))

    def forward(self, value: Tensor) -> Tensor:
        part = self.part
        if part.order:
            value = value.permute(0, *(1 + axis for axis in part.order))
        value = value.reshape(len(value), part.tokens, part.channels)
        value = value.round().long() if value.is_floating_point() else value.long()
        rows = value.clamp(self.low, self.high) + self.offset
        embedded = F.embedding(rows, self.table)  # [B, T, C, D]
        return embedded.sum(2) if part.channels > 1 else embedded[:, :, 0]


class CategoricalPatchTokens(nn.Module):
    """A token a square patch of a grid's cells: a row for every place in it, channel and value, summed.

    That is a linear map of the cells one-hot, the same one for every patch. Cells beyond the edges say
    nothing. Values outside the declared range count as the nearest inside.
    """

    low: Tensor
    high: Tensor
    offset: Tensor

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__()
        self.part = part
        size, (rows, columns) = part.patch_size, part.sides
        low, high = (torch.tensor(bound, dtype=torch.int64) for bound in (part.low, part.high))
        values = high - low + 1
        channel = torch.cumsum(values, 0) - values - low
        row, column = torch.arange(rows) % size, torch.arange(columns) % size
        place = row[:, None] * size + column  # [rows, columns]
        offset = place[..., None] * values.sum() + channel  # [rows, columns, channels]
        for name, value in (("low", low), ("high", high), ("offset", offset)):
            self.register_buffer(name, value, persistent=False)
        self.padding = (0, 0, 0, -columns % size, 0, -rows % size)
        self.nothing = size**2 * int(values.sum())
        std = 1 / math.sqrt(hidden_size * part.channels * size**2)
        table = truncated_normal_(torch.empty(self.nothing, hidden_size), std)
        # The last row is 0 and, as `padding_idx`, stays so: it gets no gradient.
        self.table = nn.Parameter(torch.cat([table, torch.zeros(1, hidden_size)]))

    def forward(self, value: Tensor) -> Tensor:
        part, size = self.part, self.part.patch_size
        value = value.permute(0, *(1 + axis for axis in part.order))
        value = value.reshape(len(value), *part.sides, part.channels)
        value = value.round().long() if value.is_floating_point() else value.long()
        rows = value.clamp(self.low, self.high) + self.offset
        if any(self.padding):
            rows = F.pad(rows, self.padding, value=self.nothing)
        cells = rows.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # [B, h, p, w, p, C]
        patches = cells.transpose(2, 3).flatten(3).flatten(1, 2)  # [B, h w, p p C]
        return F.embedding(patches, self.table, padding_idx=self.nothing).sum(2)


class TextTokens(nn.Module):
    """A token a byte: 0 is padding, n + 1 is byte n."""

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__()
        self.length = part.tokens
        self.bytes = CategoricalTokens(part, hidden_size)

    def forward(self, value: Tensor) -> Tensor:
        short = self.length - value.shape[1]
        value = F.pad(value, (0, short)) if short > 0 else value[:, : self.length]
        return self.bytes(value)


class Scale(nn.Module):
    """Bounded values to [-1, 1] by their bounds; others by sign(x) log(1 + |x|), so they stay small.

    The second is "symlog" (Hafner and others, arXiv 2301.04104): near the identity about 0.
    """

    centre: Tensor
    factor: Tensor
    bounded: Tensor

    def __init__(self, part: Part) -> None:
        super().__init__()
        known = [low is not None for low in part.low]
        low, high = (
            torch.tensor([0.0 if v is None else v for v in bound], dtype=torch.float64)
            for bound in (part.low, part.high)
        )
        half = (high - low) / 2
        half = torch.where(half > 0, half, 1.0)  # a constant becomes 0
        for name, value in (("centre", (low + high) / 2), ("factor", 1 / half)):
            self.register_buffer(name, value.float(), persistent=False)
        self.register_buffer("bounded", torch.tensor(known), persistent=False)
        self.all_bounded = all(known)

    def forward(self, value: Tensor) -> Tensor:
        scaled = (value.float() - self.centre) * self.factor
        if self.all_bounded:
            return scaled
        if value.dtype != torch.float64:  # its numbers may be beyond float32, their logarithms not
            value = value.float()
        symlog = value.sign() * value.abs().log1p()
        return torch.where(self.bounded, scaled, symlog.float())


class FeatureTokens(nn.Module):
    """A token a feature, or a group of consecutive ones; each group has its own projection."""

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__()
        self.count, self.tokens = math.prod(part.shape), part.tokens
        self.group = -(-self.count // part.tokens)
        self.padding = self.group * part.tokens - self.count
        self.scale = Scale(part)
        std = 1 / math.sqrt(hidden_size * self.group)
        shape = (part.tokens, self.group, hidden_size)
        self.weight = nn.Parameter(truncated_normal_(torch.empty(shape), std))

    def forward(self, value: Tensor) -> Tensor:
        value = self.scale(value.reshape(len(value), self.count))
        if self.group == 1:  # the same; on a CPU, einsum and pad are felt at this size
            return value[..., None] * self.weight[:, 0]
        value = F.pad(value, (0, self.padding)).view(len(value), self.tokens, self.group)
        return torch.einsum("btg,tgd->btd", value, self.weight)


class PatchTokens(nn.Module):
    """A token a square patch, by one projection for all; beyond the edges the picture is 0."""

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__()
        self.part = part
        self.scale = Scale(part)
        rows, columns = part.sides
        self.padding = (0, -columns % part.patch_size, 0, -rows % part.patch_size)
        inputs = part.channels * part.patch_size**2
        std = 1 / math.sqrt(hidden_size * inputs)
        self.weight = nn.Parameter(truncated_normal_(torch.empty(inputs, hidden_size), std))

    def forward(self, value: Tensor) -> Tensor:
        part, size = self.part, self.part.patch_size
        rows, columns, *channels = (1 + axis for axis in part.order)
        value = value.permute(0, *channels, rows, columns)
        value = value.reshape(len(value), part.channels, *part.sides)
        if any(self.padding):
            value = F.pad(value, self.padding)
        pixels = value.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # [B, C, h, p, w, p]
        patches = pixels.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # [B, h w, C p p]
        return (
            self.scale(patches) @ self.weight
        )  # scaled last: bytes are faster to move than floats


def tokens_of(part: Part, hidden_size: int) -> nn.Module:
    """The module of a part's kind."""
    if part.kind == "categorical" and part.patch_size:
        return CategoricalPatchTokens(part, hidden_size)
    if part.kind == "categorical":
        return CategoricalTokens(part, hidden_size)
    if part.kind == "text":
        return TextTokens(part, hidden_size)
    if part.kind == "features":
        return FeatureTokens(part, hidden_size)
    return PatchTokens(part, hidden_size)
