"""Compiled loops: numba's `njit` with a cache that may cost time and nothing else, and threads for them.

A function whose compiled form cannot be kept, or is damaged on disk, is compiled in this process.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core.caching import FunctionCache, NullCache
from numpy.typing import NDArray

from hrm_rl.files import temporary_folder
from hrm_rl.process.cpus import usable_cpus

Found = TypeVar("Found")

# Few enough that a processor is done with them in a moment, and Ctrl-C is heard.
_PART = 256
_log = logging.getLogger(__name__)


def njit(*, nogil: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with its cache in the first folder that can be written: NUMBA_CACHE_DIR, ``__pycache__``
    beside the source, the user's cache folder, or a temporary folder."""

    def decorate(function: Callable[..., Any]) -> Any:
        compiled: Any = numba.njit(nogil=nogil)(function)
        compiled._cache = _cache_of(function)
        return compiled

    return decorate


def by_parts(function: Callable[[NDArray[Any]], Found], rows: NDArray[Any]) -> list[Found]:
    """The results of a function of successive parts of `rows`, in their order, on all processors.

    The function takes its time in `njit(nogil=True)` code. NUMBA_NUM_THREADS and OMP_NUM_THREADS limit the
    threads.
    """
    if len(rows) <= _PART:
        return [function(rows)]
    parts = np.array_split(rows, -(-len(rows) // _PART))
    settings: Any = numba.config
    threads = min(len(parts), usable_cpus(), settings.NUMBA_NUM_THREADS)
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit():
        threads = max(1, min(threads, int(given)))
    if threads == 1:
        return [function(part) for part in parts]
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(function, parts))
    finally:  # also on Ctrl-C
        pool.shutdown(cancel_futures=True)


class _Cache(FunctionCache):
    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged pickle can raise anything
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _note(f"{self.cache_path} cannot hold it ({error.strerror})")


def _cache_of(function: Callable[..., Any]) -> Any:
    try:
        if os.path.expanduser("~") == "~":  # of a user without a home; numba would make a folder "~"
            raise RuntimeError
        return _Cache(function)
    except RuntimeError:  # no folder can be written
        folder = temporary_folder()
    if folder is None:
        _note("neither its folder nor a cache or temporary folder can be written")
        return NullCache()
    _use(str(folder))
    return _Cache(function)


@cache
def _use(folder: str) -> None:
    """Let numba, in this process and its children, keep compiled code in a folder."""
    settings: Any = numba.config
    settings.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = folder
    _log.warning(
        "Compiled code of hrm_rl is kept in %s, since its own and the user's cache folder cannot be "
        "written; NUMBA_CACHE_DIR names another folder.",
        folder,
    )


@cache
def _note(reason: str) -> None:
    _log.warning("hrm_rl compiles its code at every start: %s. NUMBA_CACHE_DIR names a folder.", reason)
