"""Models to and from the Hugging Face Hub, where huggingface_hub is installed (the extra `hub`)."""

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from hrm_rl.model.hrm import HRM

_INSTALL = "pip install huggingface_hub"

# What went wrong, by the names of huggingface_hub's errors.
_REASONS = {
    "GatedRepoError": "{} on the Hub is gated: ask for access on its page",
    "RepositoryNotFoundError": "the Hub has no model {} (or it is private: hf auth login)",
    "RevisionNotFoundError": "{} on the Hub has no such revision",
    "LocalEntryNotFoundError": "{} is not cached and the Hub cannot be reached",
    "LocalTokenNotFoundError": "{} needs a token: hf auth login",
}

# Where runs and models are kept: a mistyped path in one is no question for the Hub.
_OUR_FOLDERS = ("runs", "models", "checkpoints")

Answer = TypeVar("Answer")


def is_hub_id(source: str) -> bool:
    """Does it read as `owner/name`, and not as a path in a folder that is here?"""
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)/[\w.-]+", source)
    if match is None or match[1] in _OUR_FOLDERS:
        return False
    return not Path(match[1]).is_dir()


def download(repo_id: str, files: Sequence[str], revision: str | None = None) -> Path:
    """The folder in the local cache that now holds these files of a repository.

    Raises FileNotFoundError where huggingface_hub is not installed, there is no such repository or
    revision, or neither the Hub nor a cached copy can be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"no folder {repo_id}; to read it as a Hub id, {_INSTALL}"
        ) from None
    options: dict[str, Any] = {"allow_patterns": list(files)}
    if revision is not None:
        options["revision"] = revision
    try:
        return Path(_asked(repo_id, lambda: snapshot_download(repo_id, **options)))
    except ValueError as error:
        raise FileNotFoundError(f"no folder {repo_id}, and {error}") from None


def push(
    model: "HRM",
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Push with hrm_rl",
    files: Mapping[str, str] | None = None,
) -> str:
    """Upload what `save_pretrained` writes, and text files beside it, in one commit.

    Args:
        model: the model.
        repo_id: `owner/name`; made if missing.
        private: whether a repository made now is private.
        token: an access token; by default the one that `hf auth login` stored.
        message: the commit's.
        files: texts by file name, such as README.md, the model card.

    Returns:
        The repository's address.

    Raises:
        ValueError: huggingface_hub is not installed, or the Hub refuses or cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError(f"to push to the Hub, {_INSTALL}") from None
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", repo_id):
        raise ValueError(f"a repository on the Hub is owner/name, got {repo_id!r}")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name, text in (files or {}).items():
            Path(folder, name).write_text(text, encoding="utf-8")

        def upload() -> str:
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
            return str(address)

        return _asked(repo_id, upload)


def _asked(repo_id: str, ask: Callable[[], Answer]) -> Answer:
    """What the Hub answers; any of its errors as a ValueError with one line."""
    try:
        return ask()
    except Exception as error:  # of whichever HTTP library this version uses
        for kind in type(error).__mro__:
            if kind.__name__ in _REASONS:
                raise ValueError(_REASONS[kind.__name__].format(repo_id)) from error
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ValueError(f"the Hub could not be asked for {repo_id}: {reason}") from error


def resolve(source: str | os.PathLike[str], files: Sequence[str], revision: str | None) -> Path:
    """A folder that is here, or the cached copy of a repository on the Hub.

    Raises FileNotFoundError where it is neither.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    name = folder.as_posix() if isinstance(source, os.PathLike) else str(source)
    if not is_hub_id(name):
        raise FileNotFoundError(f"no model folder at {name}")
    return download(name, files, revision)
