"""Models to and from the Hugging Face Hub, if huggingface_hub is installed (the extra `hub`)."""

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hrm_rl.messages import did_you_mean
from hrm_rl.model.files.checkpoints import find_checkpoint, split_name
from hrm_rl.model.files.pretrained import PREFIX, find_pretrained, pretrained_models

_INSTALL = "pip install huggingface_hub"

# Messages by the names of huggingface_hub's errors.
_REASONS = {
    "GatedRepoError": "{} on the Hub is gated: request access on its page",
    "RepositoryNotFoundError": "the Hub has no model {} (or it is private: hf auth login)",
    "RevisionNotFoundError": "{} on the Hub has no such revision",
    "LocalEntryNotFoundError": "{} is not cached and the Hub cannot be reached",
    "LocalTokenNotFoundError": "{} needs a token: hf auth login",
}

# Folders of runs and models: a mistyped path in one is not a Hub id.
_OUR_FOLDERS = ("runs", "models", "checkpoints")

Answer = TypeVar("Answer")


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as `owner/name` and not as a path in an existing folder."""
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)/[\w.-]+", source)
    if match is None or match[1] in _OUR_FOLDERS:
        return False
    return not Path(match[1]).is_dir()


def download(repo_id: str, files: Sequence[str], revision: str | None = None) -> Path:
    """Fetch files of a repository; returns their folder in the local cache.

    Raises FileNotFoundError if huggingface_hub is not installed, the repository or revision does not exist,
    or neither the Hub nor a cached copy is available.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(f"no folder {repo_id}; to read it as a Hub id, {_INSTALL}") from None
    options: dict[str, Any] = {"allow_patterns": list(files)}
    if revision is not None:
        options["revision"] = revision
    try:
        return Path(_call(repo_id, lambda: snapshot_download(repo_id, **options)))
    except ValueError as error:
        raise FileNotFoundError(f"no folder {repo_id}, and {error}") from None


def check_repo_id(repo_id: str) -> None:
    """Raise ValueError unless it is owner/name."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", repo_id):
        raise ValueError(f"a repository on the Hub is owner/name, got {repo_id!r}")


def push(
    save: Callable[[Path], None],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Push with hrm_rl",
    files: Mapping[str, str | bytes] | None = None,
) -> str:
    """Upload a model's files, and others beside them, in one commit.

    Args:
        save: writes the model's files into a folder: `HRM.save_pretrained`.
        repo_id: `owner/name`; made if missing.
        private: whether a newly made repository is private.
        token: an access token; by default the one that `hf auth login` stored.
        message: of the commit.
        files: texts or bytes by file name, such as README.md, the model card.

    Returns:
        The repository's address.

    Raises:
        ValueError: huggingface_hub is not installed, or the Hub refuses or cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError(f"to push to the Hub, {_INSTALL}") from None
    check_repo_id(repo_id)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        for name, content in (files or {}).items():
            Path(folder, name).write_bytes(content.encode() if isinstance(content, str) else content)

        def upload() -> str:
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
            return str(address)

        return _call(repo_id, upload)


def _call(repo_id: str, call: Callable[[], Answer]) -> Answer:
    """The result of `call`; any error of the Hub becomes a ValueError with one line."""
    try:
        return call()
    except Exception as error:  # the HTTP library depends on the version
        for kind in type(error).__mro__:
            if kind.__name__ in _REASONS:
                raise ValueError(_REASONS[kind.__name__].format(repo_id)) from error
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ValueError(f"the Hub failed for {repo_id}: {reason}") from error


def resolve(source: str | os.PathLike[str], files: Sequence[str], revision: str | None) -> Path:
    """An installed model's folder, a local folder, a checkpoint's in one (RUN@500, RUN@best), or the cached
    copy of a repository on the Hub (owner/name, owner/name@revision).

    Raises FileNotFoundError if it is none of these, ValueError for a name that is both of the first two.
    """
    if (installed := find_pretrained(str(source))) is not None:
        return installed
    folder, which = split_name(source)
    if folder.is_dir():
        return folder if which is None else find_checkpoint(folder, which)
    name = folder.as_posix() if isinstance(source, os.PathLike) else str(source).removesuffix(f"@{which}")
    if not is_hub_id(name):
        known, bare = pretrained_models(), name.removeprefix(PREFIX)
        if bare in known:
            raise FileNotFoundError(f"{name} is an installed model, which has one checkpoint; omit @{which}")
        meant = did_you_mean(bare, known)
        installed_models = f"{meant} Installed" if meant else "installed"
        raise FileNotFoundError(f"no model folder at {name}; {installed_models}: {', '.join(known)}")
    return download(name, files, revision or which)
