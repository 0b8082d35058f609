"""Devices by name, checked before anything is put on them."""

import torch


def usable_device(device: torch.device | str) -> torch.device:
    """The device. Raises ValueError if nothing can be computed on it here."""
    try:
        return torch.empty(1, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of") or isinstance(error, TypeError):
            reason = "unknown kind; the usual ones are cpu, cuda and mps"
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}") from None
