"""The kinds of tokens as modules: from the values of one part to embeddings [B, tokens, D].

Every table and projection starts with a standard deviation that makes the entries of a token about
1/sqrt(D); `ObsTokenizer` multiplies by sqrt(D), as HRM does with its embeddings.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_rl.agents.tokenizer.part import Part
from hrm_rl.model.layers import truncated_normal_


class _Categories(nn.Module):
    """Row numbers in a table for the values of a part; values out of range count as the nearest inside."""

    low: Tensor
    high: Tensor
    offset: Tensor

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def _rows(self, value: Tensor, *shape: int) -> Tensor:
        """Row numbers, reshaped to [B, *shape]."""
        if self.part.order:
            value = value.permute(0, *(1 + axis for axis in self.part.order))
        value = value.reshape(len(value), *shape)
        value = value.round().long() if value.is_floating_point() else value.long()
        return value.clamp(self.low, self.high) + self.offset


class CategoricalTokens(_Categories):
    """One row of a table for each value; the channels of a cell are summed."""

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__(part)
        low, high = _whole_bounds(part)
        offset = torch.cumsum(high - low + 1, 0) - (high - low + 1)
        # A table for each channel, shared by all cells; or, for MultiDiscrete, one for each token.
        shape = (1, part.channels) if len(low) == part.channels else (part.tokens, 1)
        buffers = {"low": low, "high": high, "offset": offset - low}
        _register(self, **{name: value.view(shape) for name, value in buffers.items()})
        rows = int((high - low + 1).sum())
        std = 1 / math.sqrt(hidden_size * part.channels)
        self.table = nn.Parameter(truncated_normal_(torch.empty(rows, hidden_size), std))

    def forward(self, value: Tensor) -> Tensor:
        part = self.part
        embedded = F.embedding(self._rows(value, part.tokens, part.channels), self.table)
        return embedded.sum(2) if part.channels > 1 else embedded[:, :, 0]  # [B, T, D]


class CategoricalPatchTokens(_Categories):
    """One token for each square patch of a grid: the sum of a row for each place, channel and value.

    This is a linear map of the one-hot cells, shared by all patches. Cells beyond the edges add nothing.
    """

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__(part)
        size, (rows, columns) = part.patch_size, part.sides
        low, high = _whole_bounds(part)
        values = high - low + 1
        channel = torch.cumsum(values, 0) - values - low
        row, column = torch.arange(rows) % size, torch.arange(columns) % size
        place = row[:, None] * size + column  # [rows, columns]
        _register(self, low=low, high=high, offset=place[..., None] * values.sum() + channel)
        self.padding = (0, 0, 0, -columns % size, 0, -rows % size)
        self.nothing = size**2 * int(values.sum())
        std = 1 / math.sqrt(hidden_size * part.channels * size**2)
        table = truncated_normal_(torch.empty(self.nothing, hidden_size), std)
        # The last row stays 0: as `padding_idx` it gets no gradient.
        self.table = nn.Parameter(torch.cat([table, torch.zeros(1, hidden_size)]))

    def forward(self, value: Tensor) -> Tensor:
        rows, size = self._rows(value, *self.part.sides, self.part.channels), self.part.patch_size
        if any(self.padding):
            rows = F.pad(rows, self.padding, value=self.nothing)
        cells = rows.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # [B, h, p, w, p, C]
        patches = cells.transpose(2, 3).flatten(3).flatten(1, 2)  # [B, h w, p p C]
        return F.embedding(patches, self.table, padding_idx=self.nothing).sum(2)


def _whole_bounds(part: Part) -> tuple[Tensor, Tensor]:
    return torch.tensor(part.low, dtype=torch.int64), torch.tensor(part.high, dtype=torch.int64)


def _register(module: nn.Module, **constants: Tensor) -> None:
    for name, value in constants.items():
        module.register_buffer(name, value, persistent=False)


class TextTokens(nn.Module):
    """One token for each byte: 0 is padding, n + 1 is byte n."""

    def __init__(self, part: Part, hidden_size: int) -> None:
        super().__init__()
        self.length = part.tokens
        self.bytes = CategoricalTokens(part, hidden_size)

    def forward(self, value: Tensor) -> Tensor:
        short = self.length - value.shape[1]
        value = F.pad(value, (0, short)) if short > 0 else value[:, : self.length]
        return self.bytes(value)


class Scale(nn.Module):
    """Scale bounded values to [-1, 1], and others by sign(x) log(1 + |x|), which keeps them small.

    The latter is "symlog" (Hafner and others, arXiv 2301.04104): close to the identity near 0.
    """

    centre: Tensor
    factor: Tensor
    bounded: Tensor

    def __init__(self, part: Part) -> None:
        super().__init__()
        bounded = torch.tensor([low is not None for low in part.low])
        low, high = (
            torch.tensor([bound or 0.0 for bound in bounds], dtype=torch.float64)
            for bounds in (part.low, part.high)
        )
        half = (high - low) / 2
        half = torch.where(half > 0, half, 1.0)  # a constant becomes 0
        _register(self, centre=((low + high) / 2).float(), factor=(1 / half).float())
        _register(self, bounded=bounded)
        self.all_bounded = bool(bounded.all())

    def forward(self, value: Tensor) -> Tensor:
        scaled = (value.float() - self.centre) * self.factor
        if self.all_bounded:
            return scaled
        if value.dtype != torch.float64:  # its values may exceed float32; their logarithms do not
            value = value.float()
        symlog = value.sign() * value.abs().log1p()
        return torch.where(self.bounded, scaled, symlog.float())


class FeatureTokens(nn.Module):
    """One token for each feature or group of consecutive features, each with its own projection."""

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
        if self.group == 1:  # the same result, and faster on a CPU
            return value[..., None] * self.weight[:, 0]
        value = F.pad(value, (0, self.padding)).view(len(value), self.tokens, self.group)
        return torch.einsum("btg,tgd->btd", value, self.weight)


class PatchTokens(nn.Module):
    """One token for each square patch, by one shared projection; beyond the edges the picture is 0."""

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
        return self.scale(patches) @ self.weight  # scaled last: bytes move faster than floats


def tokens_of(part: Part, hidden_size: int) -> nn.Module:
    """The module that embeds a part."""
    if part.kind == "categorical" and part.patch_size:
        return CategoricalPatchTokens(part, hidden_size)
    kinds = {"categorical": CategoricalTokens, "text": TextTokens, "features": FeatureTokens}
    return kinds.get(part.kind, PatchTokens)(part, hidden_size)
