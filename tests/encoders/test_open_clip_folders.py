"""open_clip models that are a folder or a repository with a configuration, and tokenizers that come from the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch

from mmsc_cli.encoders.open_clip_weights import find_weights
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.tables.items import full_text
from tests.fixtures.tiny_models import open_clip_folder, tokenizer

WORKSPACE = Path("workspace")
Run = Callable[..., Any]


def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A hub of folders by repository, whose names are their commits; it answers with what is asked for, and no more."""
    repositories: dict[str, Path] = {}

    def download(repository: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool) -> str:
        folder = repositories[repository]
        assert revision in (None, folder.name)
        assert not {"*", "*.py", "*.bin"} & set(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(httpx, "head", lambda *_, **__: httpx.Response(200))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return repositories


def encode_and_reopen(run_encode: Run, items: pa.Table, encoder: str) -> Any:
    """Encode a catalogue, and its first texts again with what `encoder.json` opens."""
    made = run_encode(items, encoder=encoder)
    assert made.array("mask.npy").all()
    texts = full_text(items)[:5]
    again = open_encoder(made.folder, device=cpu)
    np.testing.assert_allclose(again.encode_texts(texts), made.array("text.npy")[:5], atol=2e-3)
    return made


def test_a_folder_with_its_own_configuration(
    typed_items: pa.Table, run_encode: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = open_clip_folder(tmp_path_factory.mktemp("clip"), {}, with_tokenizer=False)
    made = encode_and_reopen(run_encode, typed_items, f"open_clip:local-dir:{folder}")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(full_text(typed_items)[:5]))
    expected = torch.nn.functional.normalize(expected, dim=-1)
    np.testing.assert_allclose(made.array("text.npy")[:5], expected, atol=2e-3)


def test_a_repository_of_the_hub_is_pinned_to_its_commit(
    typed_items: pa.Table, run_encode: Run, tmp_path_factory: pytest.TempPathFactory, hub: dict[str, Path]
) -> None:
    settings = {"hf_tokenizer_name": "shop/elsewhere", "tokenizer_kwargs": {"trust_remote_code": True}}
    hub["shop/clip"] = open_clip_folder(tmp_path_factory.mktemp("hub") / "c0ffee", settings, with_tokenizer=True)
    made = encode_and_reopen(run_encode, typed_items, "open_clip:hf-hub:shop/clip")
    card = json.loads((made.folder / "encoder.json").read_bytes())
    assert (card["name"], card["revision"], card["checkpoint"]) == ("open_clip:hf-hub:shop/clip", "c0ffee", None)

    words = json.loads((hub["shop/clip"] / "tokenizer.json").read_bytes())
    words["normalizer"] = None
    (hub["shop/clip"] / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(WorkspaceError, match="not the checkpoint"):
        open_encoder(made.folder, device=cpu)


def test_a_tokenizer_and_a_text_tower_from_elsewhere_are_pinned_too(
    typed_items: pa.Table, run_encode: Run, tmp_path_factory: pytest.TempPathFactory, hub: dict[str, Path]
) -> None:
    from transformers import BertConfig

    bert = tmp_path_factory.mktemp("bert") / "beef"
    words = tokenizer()
    words.save_pretrained(bert)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes).save_pretrained(bert)
    hub["shop/bert"] = bert
    folder = tmp_path_factory.mktemp("clip")
    # While the weights are made, the tower is the folder itself.
    tower = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "hf_pooler_type": "mean_pooler"}
    open_clip_folder(folder, tower, with_tokenizer=False)
    config = json.loads((folder / "open_clip_config.json").read_bytes())
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": "shop/bert", "hf_tokenizer_name": "shop/bert"}
    (folder / "open_clip_config.json").write_text(json.dumps(config))

    made = encode_and_reopen(run_encode, typed_items, f"open_clip:local-dir:{folder}")
    assert json.loads((made.folder / "encoder.json").read_bytes())["text_revision"] == "beef"

    described = json.loads((bert / "config.json").read_bytes())
    (bert / "config.json").write_text(json.dumps(described | {"auto_map": {"AutoModel": "own.Model"}}))
    with pytest.raises(InputError, match="names code"):
        find_weights(f"open_clip:local-dir:{folder}", WORKSPACE)


def test_every_listed_model_with_pretrained_weights_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub: dict[str, Path]
) -> None:
    snapshot = tmp_path / "0123abc"
    snapshot.mkdir()
    (snapshot / "open_clip_model.safetensors").touch()
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(snapshot / _[1]))
    asked: list[str] = []

    def download(repository: str, **_: object) -> str:
        asked.append(repository)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr("mmsc_cli.encoders.open_clip_weights.PINS", {})
    named = [
        (name, tag) for name, tag in open_clip.list_pretrained() if open_clip.get_pretrained_cfg(name, tag)["hf_hub"]
    ]
    assert len(named) > 100
    for name, tag in named:
        assert find_weights(f"open_clip:{name}/{tag}", WORKSPACE).revision == "0123abc"
    assert "timm/ViT-B-32-SigLIP2-256" in asked
    assert "xlm-roberta-base" in asked


def test_folders_that_are_no_model_or_bring_code(tmp_path: Path) -> None:
    whole = open_clip_folder(tmp_path / "whole", {}, with_tokenizer=False)
    encoder = f"open_clip:local-dir:{whole}"
    with pytest.raises(InputError, match="inside the workspace"):
        find_weights(encoder, tmp_path)
    config = json.loads((whole / "open_clip_config.json").read_bytes())
    elsewhere = {"timm_model_name": "hf-hub:someone/tower", "image_size": 32}
    for damaged, message in (
        ("{", "missing or damaged"),
        (json.dumps({"model_cfg": [config]}), "missing or damaged"),
        (json.dumps({"model_cfg": config["model_cfg"] | {"vision_cfg": elsewhere}}), "come from elsewhere"),
    ):
        (whole / "open_clip_config.json").write_text(damaged)
        with pytest.raises(InputError, match=message):
            find_weights(encoder, WORKSPACE)
    with_code = Path(shutil.copytree(whole, tmp_path / "code"))
    (with_code / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match=r"own\.py is code"):
        find_weights(f"open_clip:local-dir:{with_code}", WORKSPACE)
    (whole / "open_clip_model.safetensors").rename(whole / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match="is a pickle"):
        find_weights(encoder, WORKSPACE)
