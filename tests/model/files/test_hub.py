"""To and from the Hugging Face Hub, replaced by a folder: no test uses the network."""

import shutil
import sys
import types
from pathlib import Path

import pytest
import torch

from hrm_rl.model import HRM
from hrm_rl.model.files.hub import is_hub_id


class RepositoryNotFoundError(Exception):
    """Named as in huggingface_hub, whose errors are recognised by name."""


class GatedRepoError(RepositoryNotFoundError):
    pass


class LocalEntryNotFoundError(FileNotFoundError):
    pass


class FakeHub(types.ModuleType):
    """huggingface_hub's three calls, on a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.calls, self.trouble = folder, [], None
        hub = self

        class HfApi:
            def __init__(self, token=None):
                hub.calls.append(("token", token))

            def create_repo(self, repo_id, *, private, exist_ok):
                hub.calls.append(("create", repo_id, private, exist_ok))
                if hub.trouble:
                    raise hub.trouble
                return f"https://hub.example/{repo_id}"

            def upload_folder(self, *, repo_id, folder_path, commit_message):
                hub.calls.append(("upload", commit_message))
                shutil.copytree(folder_path, hub.folder / repo_id, dirs_exist_ok=True)

        self.HfApi = HfApi

    def snapshot_download(self, repo_id, *, allow_patterns, revision=None):
        assert {"config.json", "model.safetensors"} <= set(allow_patterns)
        self.calls.append(("download", revision))
        if self.trouble:
            raise self.trouble
        if not (self.folder / repo_id).is_dir():
            raise RepositoryNotFoundError("401 Client Error.\n\nRepository Not Found for url: x")
        return str(self.folder / repo_id)


@pytest.fixture
def hub(monkeypatch, tmp_path) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def model(tiny_hrm) -> HRM:
    return tiny_hrm()


def test_a_model_comes_back_as_it_was_pushed(hub, model) -> None:
    files = {"README.md": "# card ü\n"}
    address = model.push_to_hub("some-one/small.hrm", private=True, token="t", message="first", files=files)
    assert address == "https://hub.example/some-one/small.hrm"
    assert hub.calls == [("token", "t"), ("create", "some-one/small.hrm", True, True), ("upload", "first")]
    pushed = hub.folder / "some-one" / "small.hrm"
    assert {p.name for p in pushed.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert (pushed / "README.md").read_text(encoding="utf-8") == "# card ü\n"
    loaded = HRM.from_pretrained("some-one/small.hrm", revision="main")
    assert hub.calls[-1] == ("download", "main")
    HRM.from_pretrained("some-one/small.hrm@v2")
    assert hub.calls[-1] == ("download", "v2")
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize("repo_id", ["small", "a/b/c", "/b", "a/", "a b/c"])
def test_a_repository_is_owner_and_name(hub, model, repo_id) -> None:
    with pytest.raises(ValueError, match="a repository on the Hub is owner/name, got"):
        model.push_to_hub(repo_id)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (RepositoryNotFoundError("401\n\nlong"), r"the Hub has no model a/b \(or it is private"),
        (GatedRepoError("403"), "a/b on the Hub is gated"),
        (LocalEntryNotFoundError("x"), "a/b is not cached and the Hub cannot be reached"),
        (OSError("\nno route\nmore"), "the Hub failed for a/b: no route$"),
        (RuntimeError(), "the Hub failed for a/b: RuntimeError$"),
    ],
)
def test_the_hubs_trouble_is_one_line(hub, model, trouble, words) -> None:
    hub.trouble = trouble
    with pytest.raises(FileNotFoundError, match=words) as caught:
        HRM.from_pretrained("a/b")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=words):
        model.push_to_hub("a/b")


def test_without_huggingface_hub(monkeypatch, model) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="pip install huggingface_hub"):
        model.push_to_hub("a/b")
    with pytest.raises(FileNotFoundError, match=r"no folder a/b.*install huggingface_hub"):
        HRM.from_pretrained("a/b")


@pytest.mark.parametrize("source", ["nowhere", "./no/where", "/no/where", "a/b/c"])
def test_paths_never_reach_the_hub(hub, source) -> None:
    with pytest.raises(FileNotFoundError, match=f"no model folder at {source}"):
        HRM.from_pretrained(source)
    assert not hub.calls


def test_a_path_in_a_folder_that_exists_is_not_a_hub_id(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("owner/mine")
    (tmp_path / "owner").mkdir()
    paths = ("owner/mine", "runs/mistyped", "mine", "./a/b", "/a/b", "a/b/c", "~/a", "../a")
    assert not any(is_hub_id(path) for path in paths)
