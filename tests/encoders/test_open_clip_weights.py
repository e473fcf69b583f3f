from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from mmsc_cli.encoders.open_clip_weights import DEFAULT, PINS, find_weights
from mmsc_cli.errors import InputError, UnreachableError

WORKSPACE = Path("workspace")


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def refuse(*_: object, **__: object) -> NoReturn:
    raise httpx.ConnectError("Name or service not known")


def test_unknown_architecture_gives_near_names() -> None:
    with pytest.raises(InputError, match="no architecture") as caught:
        find_weights("open_clip:vit-b32/openai", WORKSPACE)
    assert "ViT-B-32" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["open_clip:ViT-B-32/laion2b_s34b", "open_clip:ViT-B-32"])
def test_unknown_tag_gives_near_names(name: str) -> None:
    with pytest.raises(InputError, match="no pretrained weights") as caught:
        find_weights(name, WORKSPACE)
    assert "openai" in (caught.value.hint or "") or "laion2b_s34b_b79k" in (caught.value.hint or "")


def test_missing_checkpoint_and_pickles(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint at"):
        find_weights(f"open_clip:ViT-B-32/{tmp_path}/gone.safetensors", WORKSPACE)
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="pickle"):
        find_weights(f"open_clip:ViT-B-32/{tmp_path}/model.pt", WORKSPACE)


@pytest.mark.usefixtures("empty_cache")
def test_no_network_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx, "head", refuse)
    with pytest.raises(UnreachableError, match="cannot be reached") as caught:
        find_weights(DEFAULT, WORKSPACE)
    assert ".safetensors" in (caught.value.hint or "")
    assert "--encoder classic" in (caught.value.hint or "")


@pytest.mark.usefixtures("empty_cache")
def test_offline_mode_does_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was tried")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(httpx, "head", fail)
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
        find_weights(DEFAULT, WORKSPACE)


@pytest.mark.usefixtures("empty_cache")
def test_a_connection_that_breaks_off_and_weights_that_are_a_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: object, **__: object) -> NoReturn:
        raise LocalEntryNotFoundError("An error happened while trying to locate the file\nCheck your connection")

    def no_such_file(*_: object, **__: object) -> NoReturn:
        raise EntryNotFoundError("Entry not found")

    monkeypatch.setattr(httpx, "head", lambda *_, **__: httpx.Response(200))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", break_off)
    with pytest.raises(UnreachableError) as caught:
        find_weights(DEFAULT, WORKSPACE)
    assert "\n" not in caught.value.message
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_such_file)
    with pytest.raises(InputError, match="not published as safetensors"):
        find_weights(DEFAULT, WORKSPACE)


def test_cached_weights_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    cached = snapshot / "open_clip_model.safetensors"
    cached.touch()
    asked: list[tuple[str, str]] = []

    def cache(repository: str, file: str, revision: str | None = None) -> str:
        asked.append((repository, file))
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cache)
    monkeypatch.setattr(httpx, "head", refuse)
    weights = find_weights("open_clip:ViT-B-32/openai", WORKSPACE)
    assert (weights.checkpoint, weights.revision) == (cached, "0123abc")
    assert weights.overrides["force_quick_gelu"]
    assert asked == [("timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors")]


def test_the_default_is_pinned_and_an_exchanged_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str | None] = []

    def cache(_: str, file: str, revision: str | None = None) -> str:
        asked.append(revision)
        snapshot = tmp_path / str(revision)
        snapshot.mkdir(exist_ok=True)
        (snapshot / file).write_bytes(b"other weights")
        return str(snapshot / file)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cache)
    with pytest.raises(InputError, match="not the published one"):
        find_weights(DEFAULT, WORKSPACE)
    weights = find_weights(DEFAULT, WORKSPACE, "0123abc")
    assert asked == [PINS[DEFAULT].revision, "0123abc"]
    assert weights.revision == "0123abc"


def test_a_checkpoint_in_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.safetensors").touch()
    with pytest.raises(InputError, match="inside the workspace"):
        find_weights(f"open_clip:ViT-B-32/{tmp_path}/own.safetensors", tmp_path)
