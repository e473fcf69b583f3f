"""sentence-transformers: texts, images, and both as one input, from folders that are saved on the spot."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mmsc_cli.encode.earlier import Earlier
from mmsc_cli.encode.encode import encode_shard
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.encoders.sentence_transformers import find_sentence_model
from mmsc_cli.errors import InputError, UnreachableError, WorkspaceError
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import full_text
from mmsc_cli.tables.pairs import Pairs
from tests.fixtures.tiny_models import tokenizer, vision_language_model

WORKSPACE = Path("workspace")
Run = Callable[..., Any]


def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with mean pooling, random weights and a vocabulary of letters, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel

    words = tokenizer()
    bert = tmp_path_factory.mktemp("bert")
    words.save_pretrained(bert)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)).save_pretrained(bert)
    folder = tmp_path_factory.mktemp("sentence") / "model"
    SentenceTransformer(str(bert), device="cpu").save(str(folder))
    return folder


def test_texts_have_vectors_and_images_none(typed_items: pa.Table, run_encode: Run, sentence_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    made = run_encode(typed_items, encoder=f"sentence-transformers:{sentence_model}", batch_size=7)
    text, mask = made.array("text.npy"), made.array("mask.npy")
    assert text.shape == (60, 32)
    assert mask[:, 0].all()
    assert not mask[:, 1].any()
    assert not made.array("image.npy").any()
    counts = {name: made.counts[name] for name in ("texts", "images", "images_missing", "images_failed")}
    assert counts == {"texts": 60, "images": 0, "images_missing": 60, "images_failed": 0}
    texts = full_text(typed_items)
    expected = SentenceTransformer(str(sentence_model), device="cpu").encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(text, expected, atol=2e-3)
    assert np.unique(text, axis=0).shape == text.shape

    again = open_encoder(made.folder, device=cpu)
    np.testing.assert_allclose(again.encode_texts(texts), text, atol=2e-3)
    (sentence_model / "README.md").write_text("changed")
    with pytest.raises(WorkspaceError, match="not the model"):
        open_encoder(made.folder, device=cpu)


@pytest.fixture(scope="module")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_language_model(tmp_path_factory.mktemp("vision"))


def test_a_model_that_sees_is_adapted_by_a_projection(
    typed_items: pa.Table, run_encode: Run, pair_table: Callable[..., Pairs], vision_model: Path
) -> None:
    ends = [(row, row + 3) for row in range(57)] + [(row, row + 6) for row in range(54)]
    pairs = pair_table(ends, ["train"] * len(ends))
    made = run_encode(typed_items, pairs, encoder=f"sentence-transformers:{vision_model}", adapt=True)
    assert made.counts["adapt"]["trained"] == "projection"
    with pytest.raises(InputError, match="no towers"):
        run_encode(typed_items, pairs, encoder=f"sentence-transformers:{vision_model}", adapt=True, adapt_with="lora")


def test_images_and_both_as_one_input(
    typed_items: pa.Table,
    run_encode: Run,
    encode_task: Callable[..., EncodeTask],
    vision_model: Path,
    tmp_path: Path,
) -> None:
    from sentence_transformers import SentenceTransformer

    (tmp_path / "images/7.png").write_bytes(b"no image")
    texts = full_text(typed_items)
    texts[5], texts[6] = "", "lamp of brass " * 200  # the latter is cut off, and the mark of its image is not
    items = typed_items.set_column(typed_items.schema.get_field_index("title"), "title", pa.array(texts))
    encoder = f"sentence-transformers:{vision_model}"
    made = run_encode(items, encoder=encoder, batch_size=7)
    text, image, mask, joint = Embeddings.open(made.folder)
    assert (text.shape, image.shape, joint.shape) == ((60, 32),) * 3
    assert made.counts["joint_dim"] == 32
    assert (made.counts["images_failed"], np.flatnonzero(~mask[:, 1]).tolist()) == (1, [7])
    assert np.flatnonzero(~joint.any(axis=1)).tolist() == [5, 7]

    model = SentenceTransformer(str(vision_model), device="cpu")
    pictures = [Image.open(tmp_path / f"images/{row}.png").convert("RGB") for row in range(3)]
    both = [{"text": words, "image": picture} for words, picture in zip(texts, pictures, strict=False)]
    for rows, inputs in ((text, texts[:3]), (image, pictures), (joint, both)):
        np.testing.assert_allclose(rows[:3], model.encode(inputs, normalize_embeddings=True), atol=4e-3)

    again = open_encoder(made.folder, device=cpu)
    pixels = [again.pixels(picture) for picture in pictures]
    np.testing.assert_allclose(again.joint_vectors(texts[:3], pixels), joint[:3], atol=4e-3)

    # The next night, with one title changed, only that item is encoded.
    texts[9] = "another title"
    items = items.set_column(items.schema.get_field_index("title"), "title", pa.array(texts))
    task = encode_task(items, None, tmp_path, unfinished=tmp_path / "next", encoder=encoder, batch_size=7)
    next_night = encode_shard(replace(task, earlier=Earlier.open(made.folder)))
    encoded = {
        modality: len(inputs) - len(next_night.known[modality]) for modality, inputs in next_night.inputs.items()
    }
    # The image that cannot be used is tried again, by itself and with its text.
    assert encoded == {"text": 1, "image": 1, "joint": 2}


def test_a_text_is_never_opened_as_an_image(
    vision_model: Path, tmp_path: Path, typed_items: pa.Table, run_encode: Run
) -> None:
    """A catalogue whose titles are paths, addresses or the marks of the model's prompt encodes like any other."""
    titles = [
        f"{tmp_path}/images/0.png",
        "https://shop.invalid/1.png",
        "data:image/png;base64,AAAA",
        "lamp <|image_pad|>",
    ]
    rows = typed_items.slice(0, len(titles))
    items = rows.set_column(rows.schema.get_field_index("title"), "title", pa.array(titles))
    made = run_encode(items, encoder=f"sentence-transformers:{vision_model}")
    text, _, mask, joint = Embeddings.open(made.folder)
    assert mask.all()
    assert joint.any(axis=1).all()
    again = open_encoder(made.folder, device=cpu)
    np.testing.assert_allclose(text[3:], again.encode_texts(["lamp"]), atol=4e-3)
    looks = again.encode_images([Image.open(tmp_path / "images/0.png").convert("RGB")])
    assert np.abs(text[0] - looks[0]).max() > 0.01


def test_fewer_numbers_and_a_prompt(typed_items: pa.Table, run_encode: Run, sentence_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = f"sentence-transformers:{sentence_model}"
    made = run_encode(typed_items, encoder=encoder, truncate_dim=8, prompt="query: ")
    model = SentenceTransformer(str(sentence_model), device="cpu", truncate_dim=8)
    texts = full_text(typed_items)
    expected = model.encode(texts, prompt="query: ", normalize_embeddings=True)
    np.testing.assert_allclose(made.array("text.npy"), expected, atol=2e-3)
    np.testing.assert_allclose(open_encoder(made.folder, device=cpu).encode_texts(texts), expected, atol=2e-3)
    with pytest.raises(InputError, match="mean nothing"):
        run_encode(typed_items, encoder="classic", prompt="query: ")


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="is a pickle"):
        find_sentence_model(f"sentence-transformers:{tmp_path}", WORKSPACE)


def test_folders_that_are_none(
    tmp_path: Path, typed_items: pa.Table, run_encode: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(InputError, match="no model folder"):
        find_sentence_model(f"sentence-transformers:{tmp_path}/gone", WORKSPACE)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(InputError, match="cannot be loaded"):
        run_encode(typed_items, encoder=f"sentence-transformers:{empty}")


def test_no_network_names_the_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnreachableError, match="cannot be reached") as caught:
        find_sentence_model("sentence-transformers:all-MiniLM-L6-v2", WORKSPACE)
    assert "sentence-transformers:PATH" in (caught.value.hint or "")
    assert "--encoder classic" in (caught.value.hint or "")


def test_without_the_extra(
    typed_items: pa.Table, run_encode: Run, sentence_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match="not installed") as caught:
        run_encode(typed_items, encoder=f"sentence-transformers:{sentence_model}")
    assert "[text]" in (caught.value.hint or "")


def test_a_model_that_brings_code_is_refused(sentence_model: Path, tmp_path: Path) -> None:
    with_code = Path(shutil.copytree(sentence_model, tmp_path / "code"))
    (with_code / "modeling_own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match=r"modeling_own\.py is code"):
        find_sentence_model(f"sentence-transformers:{with_code}", WORKSPACE)

    foreign = Path(shutil.copytree(sentence_model, tmp_path / "foreign"))
    modules = json.loads((foreign / "modules.json").read_bytes())
    for kind in ("os.system", "antigravity.Own", "sentence_transformers_of_mine.Module"):
        (foreign / "modules.json").write_text(json.dumps([modules[0], modules[1] | {"type": kind}]))
        with pytest.raises(InputError, match="not of sentence-transformers"):
            find_sentence_model(f"sentence-transformers:{foreign}", WORKSPACE)
    for damaged in ("{", "7", "[7]", "[{}]", "[" * 100_000):
        (foreign / "modules.json").write_text(damaged)
        with pytest.raises(InputError, match=r"modules\.json is damaged"):
            find_sentence_model(f"sentence-transformers:{foreign}", WORKSPACE)


def test_a_model_in_the_workspace_is_refused_by_whoever_names_it(
    typed_items: pa.Table, run_encode: Run, sentence_model: Path, tmp_path: Path
) -> None:
    inside = Path(shutil.copytree(sentence_model, tmp_path / "inside"))
    (tmp_path / "link").symlink_to(tmp_path)
    for named in (inside, tmp_path / "link" / "inside"):
        with pytest.raises(InputError, match="inside the workspace"):
            find_sentence_model(f"sentence-transformers:{named}", tmp_path)

    made = run_encode(typed_items, encoder=f"sentence-transformers:{sentence_model}")
    card = json.loads((made.folder / "encoder.json").read_bytes())
    (made.folder / "encoder.json").write_text(json.dumps(card | {"checkpoint": str(inside)}))
    with pytest.raises(InputError, match="inside the workspace"):
        open_encoder(made.folder, device=cpu)
