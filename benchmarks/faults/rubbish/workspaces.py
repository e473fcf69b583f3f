"""Files of a workspace that a stranger made and sealed: the manifest, an index, its graphs, and judgements."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save

from benchmarks.faults.rubbish.target import REFUSED, LostError, Tally, Target, empty_folder, scratch_file
from mmsc_cli.errors import MmscError
from mmsc_cli.index.build_hnsw import add_hnsw
from mmsc_cli.index.filters import Filters
from mmsc_cli.index.hnsw import Hnsw, file_names
from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.index.storage import Strings
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.judgements import JUDGEMENT_SCHEMA, read_judgements, votes_of
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.manifest_file import outdated_inputs, read_manifest_file
from mmsc_cli.workspace.stages import STAGES
from mmsc_cli.workspace.workspace import Workspace

_GOLDEN = Path(__file__).parents[3] / "tests" / "faults" / "golden" / "format-1" / "workspace"
_IDS = ["7", "A", "B", "C"]
_DIM = 2
_INDEX, _ABOUT = "index.safetensors", "index.json"
_GRAPHS = [(relation, name) for relation in RELATIONS for name in file_names(relation)]


def _tensors() -> dict[str, NDArray[Any]]:
    """An index of four items, small enough for a search by bytes; item 0 and 1 are a known pair."""
    n_items = len(_IDS)
    tensors: dict[str, NDArray[Any]] = {
        "known.indptr": np.array([0, 1, 2, 2, 2]),
        "known.indices": np.array([1, 0], np.int32),
        "price": np.array([1, 2, np.nan, 4], np.float32),
        "category": np.array([0, 0, -1, 0], np.int32),
        "group": np.array([-1, 0, 0, -1], np.int32),
        "labels.indptr": np.array([0, 1, 2, 2, 2]),
        "labels.indices": np.array([1, 0], np.int32),
        "labels.probabilities": np.array([[0.1, 0.7, 0.2]] * 2, np.float32),
        "labels.model": np.zeros(2, np.int32),
        "gate": np.ones((n_items, 2 * len(RELATIONS), 1), np.float16),
    }
    for name, texts in {"ids": _IDS, "titles": ["Tent", "Mat", "", "Löwe"], "categories": ["Camping"]}.items():
        tensors[f"{name}.bytes"], tensors[f"{name}.offsets"] = Strings.pack(texts)
    numbers = np.random.default_rng(1)
    for relation in RELATIONS:
        tensors[f"known.strength.{relation}"] = np.array([1, 1], np.float32)
        tensors[f"known.reliability.{relation}"] = np.array([0.5, np.nan], np.float32)
        tensors[f"known.together.{relation}"] = np.array([3, 3], np.int32)
        tensors[f"{relation}.query"] = numbers.standard_normal((n_items, _DIM), np.float32)
        tensors[f"{relation}.key"] = numbers.standard_normal((n_items, _DIM), np.float32)
        tensors[f"{relation}.linear.indptr"] = np.array([0, 1, 1, 1, 2])
        tensors[f"{relation}.linear.indices"] = np.array([2, 0], np.int32)
        tensors[f"{relation}.linear.values"] = np.array([0.5, -0.25], np.float32)
    return tensors


@cache
def _sound() -> dict[str, bytes]:
    """The files of a small index, with the graphs of a large one where faiss is installed; its description lists them.

    `index.json` alone is that of an index without graphs, as none is looked at before them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = small_index()
        write_index(folder, index.tensors, index.about)
        without = (folder / _ABOUT).read_bytes()
        add_hnsw(folder, seed=1, smallest=0)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"graphs.json": files[_ABOUT], _ABOUT: without}


@cache
def small_index() -> Index:
    """An index of four items, sound."""
    calibration = {"scale": [1, 1], "coefficients": [[0.1, 0.2]] * 3, "intercepts": [0, 0, 0]}
    return Index(_tensors(), {"calibration": calibration, "label_models": ["m"], "channels": ["item"]})


def described(**changes: Any) -> bytes:
    """The description of the small index, changed."""
    return json.dumps(json.loads(_sound()[_ABOUT]) | changes).encode()


def stored(**changes: NDArray[Any]) -> bytes:
    """The tensors of the small index, changed."""
    return save(_tensors() | changes)


def _answers(folder: Path) -> Tally:
    """Whatever an index holds, it is refused, or gives answers of its own items with scores that are numbers."""
    try:
        index = Index.open(folder)
        recommender = Recommender(index, folder.parent)
        ids = [str(index.ids[row]) for row in range(min(len(index), 8))]
        known = set(index.ids)
        for item_id in ids:
            for filters in (Filters(), Filters(novel=True, category="same"), Filters(price_within=0.5)):
                for answered in recommender.answer([item_id], "both", 3, filters, explain=True):
                    if isinstance(answered, MmscError):
                        continue
                    if not all(math.isfinite(answer.score or 0) and answer.item in known for answer in answered):
                        raise LostError(f"answers that are none: {answered}")
        for opinion in recommender.judge([(a, b) for a in ids[:2] for b in ids[:2]]):
            if not isinstance(opinion, MmscError) and not math.isfinite(opinion.p_substitute):
                raise LostError(f"a probability that is none: {opinion}")
    except MmscError as error:
        if not error.message.strip():
            raise AssertionError("refused without a word") from error
        return REFUSED
    return Tally(1, 1).checked("indexes")


def check_index_file(name: str) -> Callable[[bytes], Tally]:
    """An index of which one file was changed, and its size written down again, is answered from or refused."""

    def check(content: bytes) -> Tally:
        folder = empty_folder("index")
        files = {_ABOUT: _sound()[_ABOUT], _INDEX: _sound()[_INDEX]} | {name: content}
        if name == _INDEX:
            files[_ABOUT] = json.dumps(json.loads(files[_ABOUT]) | {"bytes": len(content)}).encode()
        for file, written in files.items():
            (folder / file).write_bytes(written)
        return _answers(folder)

    return check


def check_graph(content: bytes) -> Tally:
    """A file of graphs finds items of its index, or is refused; which of the four is the first byte of the input."""
    relation, changed = _GRAPHS[content[0] % len(_GRAPHS)] if content else _GRAPHS[0]
    folder = empty_folder("index")
    about = json.loads(_sound()["graphs.json"])
    if "hnsw" not in about:  # faiss is not installed
        return REFUSED
    position = file_names(relation).index(changed)
    about["hnsw"][relation]["bytes"][position] = len(content[1:])
    files = {_INDEX: _sound()[_INDEX], _ABOUT: json.dumps(about).encode()}
    files |= {name: _sound()[name] for _, name in _GRAPHS} | {changed: content[1:]}
    for file, written in files.items():
        (folder / file).write_bytes(written)
    index = Index.open(folder)
    try:
        graphs = Hnsw.open(folder, index)
        assert graphs is not None
        for vector in index.vectors(relation).query:
            rows = graphs.nearest(relation, vector, 3)
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(index):
                raise LostError(f"it finds {rows.tolist()}")
    except MmscError:
        return REFUSED
    return Tally(1, 1).checked("graphs")


def check_manifest(content: bytes) -> Tally:
    """Every stage is told what is there, or the manifest is refused."""
    root = empty_folder("space")
    (root / "manifest.json").write_bytes(content)
    (root / "items.parquet").write_bytes(b"PAR1")
    workspace = Workspace(root)
    try:
        workspace.manifest()
        read = read_manifest_file(root)
        for stage in STAGES:
            workspace.find_damage(stage)
            outdated_inputs(read or {}, stage)
    except MmscError as error:
        if not error.message.strip():
            raise AssertionError("refused without a word") from error
        return REFUSED
    for stage in STAGES:
        try:
            workspace.inputs_of(stage)
        except MmscError:
            continue
    return Tally(1, 1).checked("manifests")


def check_judgements(content: bytes) -> Tally:
    """Judgements of items that are there count once a person and pair, or the table is refused."""
    path = scratch_file("judgements.parquet", content)
    try:
        table = read_judgements(path)
        votes = votes_of(table, _IDS)
    except MmscError:
        return REFUSED
    if int(votes.counts.sum()) > table.num_rows or not (votes.a < votes.b).all():
        raise LostError(f"{votes.counts.sum()} votes of {table.num_rows} judgements")
    return Tally(1, 1).checked("tables")


def judged_by(who: bytes, time: int = 1_790_000_000) -> bytes:
    """A table of judgements, two of one pair, by somebody of this name, which may be no text."""
    columns: dict[str, Any] = {
        "a": ["A", "B", "A"],
        "b": ["B", "A", "gone"],
        "label": ["substitute", "neither", "?"],
        "who": pa.array([who] * 3).view(pa.string()),
        "time": [time] * 3,
        "source": ["judge"] * 3,
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=JUDGEMENT_SCHEMA), sink)
    return sink.getvalue()


def _manifests() -> list[bytes]:
    """Unsealed, as a seal would refuse every change; one whole stage, and a commit under way."""
    content = json.loads((_GOLDEN / "manifest.json").read_bytes())
    content.pop("sha256", None)
    stage = content["stages"]["prepare"] | {"counts": {}, "software": {}}
    small = {"format_version": 1, "stages": {"prepare": stage | {"config": {}}}}
    files = {"items.parquet": {"sha256": "0" * 64, "bytes": 4, "mtime_ns": 1}}
    label = stage | {"config": {}, "files": {}, "outputs": {}, "inputs": {"items.parquet": "0" * 64}}
    under_way = {"format_version": 1, "stages": {"label": label}, "replacing": {"prepare": [files, files]}}
    seeds: list[dict[str, Any]] = [small, under_way, {"stages": {}}]
    return [json.dumps(seed).encode() for seed in seeds]


def _graph_seeds() -> list[bytes]:
    return [bytes([number]) + _sound().get(name, b"") for number, (_, name) in enumerate(_GRAPHS)]


INDEX = Target("index.safetensors", check_index_file(_INDEX), lambda: [_sound()[_INDEX]])
ABOUT = Target("index.json", check_index_file(_ABOUT), lambda: [_sound()[_ABOUT]])
GRAPHS = Target("graphs (faiss)", check_graph, _graph_seeds)
MANIFEST = Target("manifest.json", check_manifest, _manifests)
JUDGEMENTS = Target("judgements", check_judgements, lambda: [judged_by(b"x")])
WORKSPACES = (INDEX, ABOUT, GRAPHS, MANIFEST, JUDGEMENTS)
