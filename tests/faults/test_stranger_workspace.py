"""A workspace from a stranger: no links, no pipes, no devices, nothing outside of it; one line and exit code 2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.index.kept_columns import ids_digest, write_kept_columns
from mmsc_cli.index.storage import Strings
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.label.llm.interview import PairAnswer
from mmsc_cli.label.people.judging import Judging
from mmsc_cli.label.shown import choose_shown
from mmsc_cli.serve.titles import Titles
from mmsc_cli.workspace.manifest_file import read_manifest_file, write_manifest_file
from mmsc_cli.workspace.workspace import Workspace
from tests.faults.stranger import seal_again

if TYPE_CHECKING:
    from tests.conftest import Mmsc

COMMANDS = ["label", "encode", "train", "evaluate", "infer --item G000"]


def _refused(mmsc: Mmsc, workspace: Workspace, command: str) -> str:
    ran = mmsc(*command.split(), "-w", workspace.root, "-q")
    assert ran.code == 2, ran
    assert len(ran.err.splitlines()) == 2, ran.err
    return ran.err


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (".lock", "label"),
        (".staging", "label"),
        ("answers", "label"),
        ("encoding", "encode"),
        ("training", "train"),
        ("manifest.json", "infer --item G000"),
        ("index/index.json", "infer --item G000"),
        ("index/index.safetensors", "infer --item G000"),
        ("model/model.safetensors", "infer --item G000"),
        ("index", "evaluate"),
        ("items.parquet", "label"),
        ("images", "encode"),
        ("embeddings/text.npy", "train"),
    ],
)
def test_links_among_our_own_names_are_refused(
    mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str, command: str
) -> None:
    path, elsewhere = golden.root / name, tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.symlink_to(elsewhere)
    before = {file: file.read_bytes() for file in elsewhere.rglob("*") if file.is_file()}

    assert f"{path} is a link" in _refused(mmsc, golden, command)
    assert {file: file.read_bytes() for file in elsewhere.rglob("*") if file.is_file()} == before


# What commands read beside the artefacts of the table above.
OTHERS = {
    "judgements.parquet": "judge -n 1",
    "answers/answers-000001.parquet": "label --model a/b --endpoint http://127.0.0.1:1/v1",
    "metrics.json": "diff {0} {0}",
}


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", OTHERS)
def test_nor_is_any_other_file_of_a_workspace_a_link_or_a_pipe(
    mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str, kind: str
) -> None:
    path = golden.root / name
    path.parent.mkdir(exist_ok=True)
    if kind == "link":
        (tmp_path / "elsewhere").write_text("{}")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    words = OTHERS[name].format(golden.root).split()
    ran = mmsc(*words, *([] if words[0] == "diff" else ["-w", golden.root, "-q"]))

    assert ran.code == 2, ran
    assert f"{path} is {'a link' if kind == 'link' else 'not a regular file'}" in ran.err


# Files within folders for unfinished work, and commands that write there.
UNFINISHED = {
    "answers/vllm.log": "label --model rules --set label.budget=20",
    "encoding/0123456789abcdef/text.npy": "encode --seed 3",
    "training/checkpoint.safetensors": "train --seed 3",
    "kept_events/0123.json": "prepare demo --set source.items=200",
    "downloads/pipe-0": "run PIPE --no-label",
}


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("name", UNFINISHED)
def test_no_link_within_unfinished_work_leads_what_is_written_elsewhere(
    mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str, inner: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "letter").write_text("dear")
    path = golden.root / name
    if not inner and path.parent.parent != golden.root:
        path = path.parent
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere / "letter" if inner else elsewhere)
    os.mkfifo(tmp_path / "PIPE")

    assert f"{path} is a link" in _refused(mmsc, golden, UNFINISHED[name].replace("PIPE", str(tmp_path / "PIPE")))
    assert [file.name for file in elsewhere.iterdir()] == ["letter"]
    assert (elsewhere / "letter").read_text() == "dear"


def test_a_pipe_among_the_images_does_not_hang(mmsc: Mmsc, golden: Workspace) -> None:
    image = next(golden.path("images").iterdir())
    image.unlink()
    os.mkfifo(image)

    assert f"{image} is not a regular file" in _refused(mmsc, golden, "encode")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["manifest.json", "items.parquet", "index/index.json"])
def test_a_pipe_does_not_hang(mmsc: Mmsc, golden: Workspace, command: str, name: str) -> None:
    if (name, command) in {("items.parquet", "infer --item G000")} or (
        name.startswith("index") and command not in ("evaluate", "infer --item G000")
    ):
        pytest.skip("the command does not read the file")
    (golden.root / name).unlink()
    os.mkfifo(golden.root / name)

    assert f"{golden.root / name} is not a regular file" in _refused(mmsc, golden, command)


@pytest.mark.parametrize("name", ["/dev/zero", "../outside", "images/../../outside", "manifest.json"])
def test_the_manifest_cannot_point_outside(mmsc: Mmsc, golden: Workspace, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("of somebody else")
    content = read_manifest_file(golden.root)
    assert content is not None
    content["stages"]["prepare"]["files"][name] = {"sha256": "0" * 64, "bytes": 1, "mtime_ns": 1}
    write_manifest_file(golden.root, content)

    for command in ("label", "encode", "prepare demo"):
        assert "manifest.json is damaged" in _refused(mmsc, golden, command)
    ran = mmsc("doctor", "-w", golden.root, "--json")
    assert ran.code == 2
    assert "does not make" in json.loads(ran.out)["workspace"]["manifest"]
    assert (tmp_path / "outside").read_text() == "of somebody else"


def test_a_manifest_of_any_shape_is_one_line(mmsc: Mmsc, golden: Workspace) -> None:
    whole = golden.path("manifest.json").read_bytes()
    content = read_manifest_file(golden.root)
    assert content is not None
    bare: dict[str, Any] = content["stages"]["prepare"] | {"config": {}}
    shapes: list[dict[str, Any]] = [{}, {"train": 7}, {"prepare": {"config": {}}}, {"prepare": bare}]
    for stages in shapes:
        write_manifest_file(golden.root, content | {"stages": stages})
        for command in ("label", "encode", "train", "evaluate"):
            ran = mmsc(*command.split(), "-w", golden.root, "-q")
            assert ran.code in (0, 2), (stages, command, ran)
            assert ran.code == 0 or len(ran.err.splitlines()) <= 2, (stages, command, ran)
        assert mmsc("infer", "--item", "G000", "-w", golden.root, "-q").code in (0, 2)
        golden.path("manifest.json").write_bytes(whole)
    for text in (b"[" * 100_000, b'{"format_version": ' + b"9" * 10_000 + b"}", b"null", b'"\xed\xa0\x80"'):
        golden.path("manifest.json").write_bytes(text)
        for command in ("label", "infer --item G000"):
            _refused(mmsc, golden, command)


def test_a_link_to_the_workspace_itself_is_the_users_own_choice(mmsc: Mmsc, golden: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(golden.root)
    assert mmsc("infer", "--item", "G000", "-w", tmp_path / "here", "-q").code == 0
    assert mmsc("label", "--budget", "30", "-w", tmp_path / "here", "-q").code == 0


def _out_of_range(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(tensor, 10**6)


def _negative(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(tensor, -3)


def _nan(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(tensor, np.nan)


def _infinite(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(tensor, np.inf)


def _backwards(tensor: NDArray[Any]) -> NDArray[Any]:
    turned = tensor.copy()
    turned[1:-1] = tensor[1:-1][::-1] + 7
    return turned


def _no_text(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(tensor, 0xFF)


def _narrower(tensor: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(tensor[:, :-1])


def _shorter(tensor: NDArray[Any]) -> NDArray[Any]:
    return tensor[:-1].copy()


def _another_type(tensor: NDArray[Any]) -> NDArray[Any]:
    return tensor.astype(np.float16)


IMPOSSIBLE: list[tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = [
    ("substitute.query", _nan),
    ("complement.key", _infinite),
    ("substitute.key", _narrower),
    ("substitute.query", _shorter),
    ("substitute.linear.values", _nan),
    ("complement.linear.values", _shorter),
    ("complement.linear.indices", _out_of_range),
    ("substitute.linear.indices", _negative),
    ("substitute.linear.indptr", _backwards),
    ("known.indices", _out_of_range),
    ("known.indptr", _backwards),
    ("ids.bytes", _no_text),
    ("ids.offsets", _backwards),
    ("titles.bytes", _no_text),
    ("titles.offsets", _shorter),
    ("ids.offsets", _another_type),
    ("known.indices", _another_type),
]


@pytest.mark.parametrize(("name", "change"), IMPOSSIBLE)
def test_a_sealed_index_with_impossible_values_is_one_line_and_no_wrong_answer(
    mmsc: Mmsc, golden: Workspace, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    tensors = {key: np.array(value) for key, value in load_file(golden.path("index/index.safetensors")).items()}
    about = json.loads(golden.path("index/index.json").read_bytes())
    tensors[name] = change(tensors[name])
    write_index(golden.path("index"), tensors, about)
    seal_again(golden)
    asked = [word for item in ("G000", "G001", "G002", "G003", "G010") for word in ("--item", item)]
    ran = mmsc("infer", *asked, "--novel", "--explain", "-k", "30", "-w", golden.root, "-q")

    # Ids in another order are other ids, which may be unknown.
    assert ran.code == 2 or (name == "ids.offsets" and ran.code == 3), ran
    assert "damaged" in ran.err or ran.code == 3
    assert "internal error" not in ran.err
    assert "nan" not in ran.out.lower()


# What is read of all items at once.
WHOLE: dict[str, Callable[[Workspace], object]] = {
    "bestsellers": lambda workspace: list(Recommender.open(workspace.root).with_fallback().answer(["G000"], k=60)),
    "judged pairs": lambda workspace: Judging(workspace, "anna").pairs(3, 1),
    "pairs of new items": lambda workspace: Index.open(workspace.path("index")).known_pairs("substitute"),
    "pairs to label": lambda workspace: choose_shown(
        Index.open(workspace.path("index")), np.ones(54, np.int64), np.zeros(0, np.int64), 9, 1
    ),
    "stock": lambda workspace: Recommender.open(workspace.root).substitutes("G000", in_stock=["G001"]),
    "titles": lambda workspace: Titles(Index.open(workspace.path("index"))).find("camera", 3),
}


@pytest.mark.parametrize(
    ("name", "change", "asked"),
    [
        ("known.indptr", _backwards, "bestsellers"),
        ("known.strength.complement", _nan, "bestsellers"),
        ("substitute.linear.indptr", _backwards, "judged pairs"),
        ("complement.linear.indices", _out_of_range, "judged pairs"),
        ("known.indptr", _backwards, "pairs of new items"),
        ("known.indices", _negative, "pairs of new items"),
        ("known.indptr", _backwards, "pairs to label"),
        ("ids.offsets", _backwards, "stock"),
        ("titles.offsets", _backwards, "titles"),
        ("titles.bytes", _no_text, "titles"),
        ("ids.offsets", _backwards, "titles"),
    ],
)
def test_whoever_reads_a_whole_index_refuses_impossible_values(
    golden: Workspace, name: str, change: Callable[[NDArray[Any]], NDArray[Any]], asked: str
) -> None:
    WHOLE[asked](golden)
    tensors = {key: np.array(value) for key, value in load_file(golden.path("index/index.safetensors")).items()}
    about = json.loads(golden.path("index/index.json").read_bytes())
    tensors[name] = change(tensors[name])
    write_index(golden.path("index"), tensors, about)
    seal_again(golden)

    with pytest.raises(WorkspaceError, match="damaged"):
        WHOLE[asked](golden)


KEPT: dict[str, dict[str, NDArray[Any]]] = {
    "codes beyond the values": {"text:colour.codes": np.full(54, 9, np.int32)},
    "codes below -1": {"text:colour.codes": np.full(54, -7, np.int32)},
    "codes that are none": {"text:colour.codes": np.full(54, np.nan)},
    "codes of others": {"text:colour.codes": np.zeros((54, 2), np.int32)},
    "values that end elsewhere": {"text:colour.values.offsets": np.array([0, 900, 5])},
    "values that are no text": {"text:colour.values.bytes": np.full(7, 0xFF, np.uint8)},
    "numbers of others": {"number:weight": np.zeros(3)},
    "numbers that are none": {"number:weight": np.zeros(54, np.uint8)},
}


@pytest.mark.parametrize("wrong", KEPT)
def test_sealed_kept_columns_with_impossible_values_are_one_line(mmsc: Mmsc, golden: Workspace, wrong: str) -> None:
    path = golden.path("kept.safetensors")
    ids = pq.read_table(golden.path("items.parquet"))["item_id"].to_pylist()
    columns = {"colour": ["blue", "red"] * 27, "weight": [str(number) for number in range(54)]}
    write_kept_columns(path, ids, columns)
    ((name, value),) = KEPT[wrong].items()
    column = "weight" if "weight" in name else "colour"
    seal_again(golden)
    asked = ["infer", "G000", "--columns", column, "--where", f"{column}!=9", "-w", golden.root, "-q"]
    assert mmsc(*asked).code == 0
    save_file({**load_file(path), name: value}, path, {"ids": ids_digest(Strings.of(ids))})
    seal_again(golden)

    for words in (asked, ["show", "G000", "-w", golden.root]):
        ran = mmsc(*words)
        assert ran.code == 2, ran
        assert "damaged" in ran.err


def test_a_sealed_number_beyond_all_numbers_is_an_unknown_one(mmsc: Mmsc, golden: Workspace) -> None:
    _column("items.parquet", "price", float("inf"))(golden)
    seal_again(golden)

    for words in ("infer G000 --columns price", "show G000"):
        ran = mmsc(*words.split(), "--json", "-w", golden.root)
        assert ran.code == 0, ran
        assert '"price": null' in ran.out


@pytest.mark.parametrize(
    "wrong",
    [
        b"[]",
        b'{"models": {"mmsc": 7}}',
        b'{"models": {"mmsc": {"substitute": {"all": {"ndcg@10": "x"}}}}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_sealed_figures_that_are_none_are_one_line(mmsc: Mmsc, golden: Workspace, wrong: bytes) -> None:
    (golden.root / "metrics.json").write_bytes(wrong)
    ran = mmsc("diff", golden.root, golden.root)

    assert ran.code == 2, ran
    assert "metrics.json is damaged" in ran.err


@pytest.mark.parametrize("answer", [[1], [[1, 0, 0], "abc", 1], [[1, 0, 0], [1, 0, None], 1], [[9, 0, 0]] * 3])
def test_answers_in_a_strangers_cache_that_are_none_are_asked_again(answer: list[Any]) -> None:
    assert PairAnswer.of_cache(answer) is None
    assert PairAnswer.of_cache([[1.0, 0, 0], [0.5, 0.5, 0], 1.0]) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": {"scale": [1], "coefficients": 7, "intercepts": "x"}},
        {"calibration": 5},
        {"label_models": [1, 2]},
        {"channels": 3},
        {"neighbours": "many"},
        {"without": 5},
        {"hnsw": {"substitute": 1}},
        {"hnsw": {"../../x": {"breadth": 1, "bytes": [1, 2]}}},
        {"bytes": "1"},
        {"format_version": None},
        {"distinct": "all"},
    ],
)
def test_a_sealed_description_of_any_kind_is_one_line(mmsc: Mmsc, golden: Workspace, change: dict[str, Any]) -> None:
    path = golden.path("index/index.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    seal_again(golden)

    assert "damaged" in _refused(mmsc, golden, "infer --item G000 --explain")


@pytest.mark.parametrize(
    "command",
    ["label", "encode", "train", "evaluate", "infer --item G000 --columns title,brand", "show G000", "judge -n 1"],
)
def test_sealed_texts_that_are_no_text_are_one_line(mmsc: Mmsc, golden: Workspace, command: str) -> None:
    path = golden.path("items.parquet")
    items = pq.read_table(path)
    for name in ("title", "brand"):
        wrong = pa.array([b"\x82\xff"] * len(items)).view(pa.string())
        items = items.set_column(items.schema.get_field_index(name), items.schema.field(name), wrong)
    pq.write_table(items, path)
    seal_again(golden)
    ran = mmsc(*command.split(), "-w", golden.root)

    assert ran.code in (0, 2), ran
    assert ran.code == 0 or "items.parquet" in ran.err
    assert "internal error" not in ran.err


def _column(table: str, name: str, value: Any) -> Callable[[Workspace], None]:
    """Give every row of a table the same value in a column."""

    def change(workspace: Workspace) -> None:
        read = pq.read_table(workspace.path(table))
        field = read.schema.field(name)
        column = pa.array([value] * len(read), field.type)
        pq.write_table(read.set_column(read.schema.get_field_index(name), field, column), workspace.path(table))

    return change


def _array(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Workspace], None]:
    def write(workspace: Workspace) -> None:
        path = workspace.path(f"embeddings/{name}.npy")
        np.save(path, change(np.load(path)))

    return write


def _no_items(workspace: Workspace) -> None:
    path = workspace.path("items.parquet")
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def _pages(workspace: Workspace) -> None:
    path = workspace.path("items.parquet")
    content = bytearray(path.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:end] = bytes(byte ^ 0x5A for byte in content[4:end])
    path.write_bytes(content)


def _other_column(name: str, values: pa.Array) -> Callable[[Workspace], None]:
    def change(workspace: Workspace) -> None:
        path = workspace.path("items.parquet")
        items = pq.read_table(path)
        column = pa.field(name, values.type)
        pq.write_table(items.set_column(items.schema.get_field_index(name), column, values), path)

    return change


_READERS = ("show G000", "infer G000 --columns title,category", "label --model rules", "judge -n 1")
SEALED: dict[str, tuple[Callable[[Workspace], None], tuple[str, ...]]] = {
    "pairs of nobody": (_column("pairs.parquet", "b", 10**6), ("label", "train", "evaluate", "show G000")),
    "pairs below the first item": (_column("pairs.parquet", "a", -5), ("label", "train", "evaluate", "show G000")),
    "strengths that are none": (_column("pairs.parquet", "view_ab", float("nan")), ("label", "train", "evaluate")),
    "a split of pairs that is none": (_column("pairs.parquet", "split", "x"), ("label", "train")),
    "a split of items that is none": (_column("items.parquet", "split", "x"), ("train", "evaluate")),
    "labels of nobody": (_column("labels.parquet", "b", 10**6), ("train",)),
    "no items": (_no_items, ("label", "encode", "train", "judge -n 1")),
    "ids that are none": (_other_column("item_id", pa.array([None] * 54, pa.string())), _READERS[:1]),
    "ids that are numbers": (_other_column("item_id", pa.array(range(54))), _READERS[:1]),
    "titles that are none": (_other_column("title", pa.array([None] * 54, pa.string())), _READERS),
    "categories that are texts": (_other_column("category", pa.array(["x"] * 54)), _READERS),
    "damaged pages": (_pages, (*_READERS, "encode --seed 3")),
    "embeddings of others": (_array("text", lambda old: old[:3]), ("train", "evaluate")),
    "embeddings of no width": (_array("image", lambda old: old[0, 0]), ("train", "evaluate", "show G000")),
    "embeddings of another width": (_array("text", lambda old: old[:, :1].copy()), ("infer --new NEW",)),
    "embeddings that are no numbers": (
        _array("text", lambda old: np.full_like(old, np.nan)),
        ("train", "infer --item G000 --explain"),
    ),
    "embeddings that are texts": (_array("image", lambda old: old.astype(np.str_)), ("train", "show G000")),
    "a mask of one column": (_array("mask", lambda old: old[:, :1].copy()), ("train", "infer --item G000 --explain")),
}


@pytest.mark.parametrize("wrong", SEALED)
def test_sealed_tables_with_impossible_values_are_one_line(
    mmsc: Mmsc, golden: Workspace, tmp_path: Path, wrong: str
) -> None:
    change, commands = SEALED[wrong]
    change(golden)
    seal_again(golden)
    (tmp_path / "new.jsonl").write_text('{"title": "Glass kettle"}\n')
    for command in commands:
        ran = mmsc(*command.replace("NEW", str(tmp_path / "new.jsonl")).split(), "-w", golden.root)

        # Explanations do without embeddings, and say so.
        assert ran.code == 2 or (ran.code == 0 and "no text and image similarities" in ran.err), (command, ran)
        assert "internal error" not in ran.err
        assert "nan" not in ran.out.lower()
