"""The approximate index: built where it pays, kept where it finds what exact search finds."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index import build_hnsw, hnsw
from mmsc_cli.index.build_hnsw import add_hnsw
from mmsc_cli.index.filters import Filters
from mmsc_cli.index.graph_file import check_graph_file
from mmsc_cli.index.index_file import write_index
from mmsc_cli.infer.recommender import Recommender
from tests.fixtures.made_up_index import made_up_index

pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
ITEMS = 2_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with nothing but a made-up index."""
    (tmp_path / "index").mkdir()
    write_index(tmp_path / "index", made_up_index(ITEMS), {"items": ITEMS})
    return tmp_path


def _files(root: Path) -> set[str]:
    return {path.name for path in (root / "index").iterdir()}


def test_it_finds_what_exact_search_finds(root: Path) -> None:
    recall = add_hnsw(root / "index", seed=1, smallest=0)
    exact, approximate = Recommender.open(root, exact=True), Recommender.open(root)
    described = json.loads((root / "index" / "index.json").read_bytes())["hnsw"]
    assert approximate._approximate is not None
    assert exact._approximate is None

    assert set(recall) == {"substitute", "complement"}
    assert {relation: about["recall"] for relation, about in described.items()} == recall
    for ask in ("substitutes", "complements"):
        shared, scores = [], []
        for row in range(0, ITEMS, 40):
            item_id = exact.index.ids[row]
            found, truth = (getattr(each, ask)(item_id, 10, novel=True) for each in (approximate, exact))
            right = {answer.item: answer.score for answer in truth}
            shared.append(len({answer.item for answer in found} & set(right)) / 10)
            scores += [(answer.score, right[answer.item]) for answer in found if answer.item in right]
        assert np.mean(shared) >= 0.97
        found_scores, true_scores = np.array(scores).T
        np.testing.assert_allclose(found_scores, true_scores, rtol=1e-4)


def test_it_is_built_the_same_every_time(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "again"
    shutil.copytree(root / "index", copy)
    add_hnsw(root / "index", seed=1, smallest=0)
    add_hnsw(copy, seed=1, smallest=0)

    for path in copy.iterdir():
        assert path.read_bytes() == (root / "index" / path.name).read_bytes(), path.name


def test_filters_search_exactly(root: Path) -> None:
    add_hnsw(root / "index", seed=1, smallest=0)
    exact, approximate = Recommender.open(root, exact=True), Recommender.open(root)
    few = Filters(in_stock=frozenset(exact.index.ids[row] for row in range(0, ITEMS, 400)))
    ids = [exact.index.ids[row] for row in (3, 77)]

    assert list(approximate.answer(ids, "both", 5, few)) == list(exact.answer(ids, "both", 5, few))


def test_one_that_finds_too_little_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_hnsw, "LEAST_RECALL", 1.1)

    assert add_hnsw(root / "index", seed=1, smallest=0) == {}
    assert _files(root) == {"index.json", "index.safetensors"}
    assert Recommender.open(root)._approximate is None


def test_a_small_catalogue_or_one_without_faiss_has_none(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert add_hnsw(root / "index", seed=1) == {}
    monkeypatch.setattr(build_hnsw, "find_spec", lambda name: None)
    with caplog.at_level("INFO", "mmsc_cli"):
        assert add_hnsw(root / "index", seed=1, smallest=0) == {}
    assert "extra `faiss`" in caplog.text
    assert _files(root) == {"index.json", "index.safetensors"}


def test_an_index_with_graphs_answers_where_faiss_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_hnsw(root / "index", seed=1, smallest=0)
    monkeypatch.setattr(hnsw, "find_spec", lambda name: None)
    recommender = Recommender.open(root)

    assert len(recommender.substitutes(recommender.index.ids[0])) == 10


@pytest.mark.parametrize("name", ["hnsw.substitute.faiss", "longest.complement.faiss"])
def test_a_truncated_graph_is_refused(root: Path, name: str) -> None:
    add_hnsw(root / "index", seed=1, smallest=0)
    path = root / "index" / name
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(WorkspaceError, match=rf"{name} is missing or damaged"):
        Recommender.open(root).substitutes("B000000000")


@pytest.mark.parametrize("name", ["hnsw.substitute.faiss", "longest.substitute.faiss"])
def test_a_sealed_graph_that_ends_anywhere_is_refused_and_crashes_nothing(root: Path, name: str) -> None:
    add_hnsw(root / "index", seed=1, smallest=0)
    path = root / "index" / name
    whole = path.read_bytes()
    for length in (*range(110), *range(len(whole) - 20, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"another kind|ends within|do not fill"):
            check_graph_file(path, graph=name.startswith("hnsw"))
    path.write_bytes(whole[:30])  # faiss itself would crash
    about = json.loads((root / "index" / "index.json").read_bytes())
    about["hnsw"]["substitute"]["bytes"][name.startswith("hnsw")] = 30
    (root / "index" / "index.json").write_text(json.dumps(about))
    with pytest.raises(WorkspaceError, match="is missing or damaged"):
        Recommender.open(root).substitutes("B000000000")


def test_graphs_of_a_faiss_that_writes_others_are_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmsc_cli.index.graph_file._GRAPH", (8, 8, 8, 8, 8))
    assert add_hnsw(root / "index", seed=1, smallest=0) == {}
    assert not list((root / "index").glob("*.faiss"))
    assert len(Recommender.open(root).substitutes("B000000000")) == 10


def _levels(graph: Any, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    import faiss

    vector = getattr(graph.hnsw, name)
    faiss.copy_array_to_vector(np.ascontiguousarray(change(faiss.vector_to_array(vector))), vector)


def _ids(part: Any, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    import faiss

    faiss.copy_array_to_vector(np.ascontiguousarray(change(faiss.vector_to_array(part.id_map))), part.id_map)


CRAFTED: dict[str, Callable[[Any, Any], None]] = {
    "links beyond the items": lambda part, graph: _levels(graph, "neighbors", lambda old: np.full_like(old, 10**8)),
    "some links beyond the items": lambda part, graph: _levels(
        graph, "neighbors", lambda old: np.where(np.arange(len(old)) % 7, old, 2**31 - 1)
    ),
    "an entry beyond the items": lambda part, graph: setattr(graph.hnsw, "entry_point", 10**9),
    "a negative entry": lambda part, graph: setattr(graph.hnsw, "entry_point", -7),
    "no entry": lambda part, graph: setattr(graph.hnsw, "entry_point", -1),
    "a million levels": lambda part, graph: setattr(graph.hnsw, "max_level", 10**6),
    "levels of nothing": lambda part, graph: _levels(graph, "levels", lambda old: np.full_like(old, 10**6)),
    "offsets beyond the links": lambda part, graph: _levels(graph, "offsets", lambda old: old * 0 + 10**12),
    "offsets backwards": lambda part, graph: _levels(graph, "offsets", lambda old: old[::-1]),
    "too few offsets": lambda part, graph: _levels(graph, "offsets", lambda old: old[:5]),
    "too many neighbours": lambda part, graph: _levels(
        graph, "cum_nneighbor_per_level", lambda old: np.full_like(old, 10**8)
    ),
    "another width": lambda part, graph: setattr(part, "d", 4),
    "a wider storage": lambda part, graph: setattr(graph.storage, "d", 4_000),
    "more items than it has": lambda part, graph: setattr(graph, "ntotal", 10**6),
    "too few ids": lambda part, graph: _ids(part, lambda old: old[:3]),
    "ids beyond the catalogue": lambda part, graph: _ids(part, lambda old: old + 10**9),
    "negative ids": lambda part, graph: _ids(part, lambda old: old - 10**6),
}


@pytest.mark.parametrize("crafted", [*CRAFTED, "another kind of index"])
def test_a_crafted_graph_is_refused_and_crashes_nothing(root: Path, crafted: str) -> None:
    import faiss

    add_hnsw(root / "index", seed=1, smallest=0)
    path = root / "index" / "hnsw.substitute.faiss"
    part = faiss.read_index(str(path))
    if crafted in CRAFTED:
        CRAFTED[crafted](part, hnsw.graph_in(part))
    else:
        part = faiss.read_index(str(root / "index" / "longest.substitute.faiss"))
    faiss.write_index(part, str(path))
    about = json.loads((root / "index" / "index.json").read_bytes())
    about["hnsw"]["substitute"]["bytes"][1] = path.stat().st_size
    (root / "index" / "index.json").write_text(json.dumps(about))

    def ask() -> None:
        with pytest.raises(WorkspaceError, match="is missing or damaged"):
            Recommender.open(root).substitutes("B000000000")

    child = multiprocessing.get_context("fork").Process(target=ask)
    child.start()
    child.join(60)
    assert child.exitcode == 0, "a crash, a hang, or an answer"
