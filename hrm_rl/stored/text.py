"""JSON text, bounded."""

import json
from typing import Any

# A container takes up to 230 bytes of memory, however short its text.
_MOST_CONTAINERS = 1 << 20


def parse_json(text: str | bytes) -> Any:
    """The value of JSON text. Raises ValueError if it is damaged, nested too deep or too large."""
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) > _MOST_CONTAINERS:  # type: ignore[arg-type]
        raise ValueError(f"it holds more than {_MOST_CONTAINERS:,} lists and objects")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its lists and objects are nested too deep") from None
