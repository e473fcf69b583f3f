"""Approximate search for large catalogues: HNSW graphs (Malkov & Yashunin, TPAMI 2018), built and searched by faiss.

The graph finds candidates by dot product alone; they and the items of the linear branch are then scored exactly: what
is approximate is who is looked at, never a score.
"""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.atomic import write_json
from mmsc_cli.cores import usable_cores
from mmsc_cli.encode.vectors import unit_rows
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index import Index
from mmsc_cli.infer.filters import Filters, Sieve
from mmsc_cli.infer.query import Query
from mmsc_cli.infer.ranking import Block, Ranker
from mmsc_cli.infer.search import block_size
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.relations import RELATIONS, Relation
from mmsc_cli.seeds import numpy_generator

# Below so many items exact search is fast enough for anybody (`python -m benchmarks.infer sizes`).
SMALLEST = 200_000
LEAST_RECALL = 0.98
TOP = 10
_SAMPLE = 500
_LINKS = 32
_BREADTH_OF_BUILDING = 100
# How many candidates a search keeps in view, tried one after the other until the recall is reached.
_BREADTHS = (64, 128, 256, 512, 1_024, 2_048, 4_096)
_ADDED_AT_A_TIME = 10_000
_LOG = logging.getLogger("mmsc_cli")


class Hnsw:
    """The graphs of both relations, opened."""

    def __init__(self, graphs: dict[Relation, Any], breadth: dict[Relation, int]) -> None:
        """Take faiss indexes over the keys, and how many candidates to keep in view (at least those asked for)."""
        self._graphs = graphs
        for relation, graph in graphs.items():
            graph.hnsw.efSearch = breadth[relation]

    @classmethod
    def open(cls, folder: Path, index: Index) -> Hnsw | None:
        """Open what training left beside an index; None, with a note, where faiss is not installed.

        Raises:
            WorkspaceError: a file is missing or damaged.
        """
        if not find_spec("faiss"):
            _LOG.info("searching exactly: faiss is not installed (pip install 'mmsc-cli[faiss]')")
            return None
        import faiss

        graphs, breadth = {}, {}
        for relation, about in index.about["hnsw"].items():
            path = folder / f"hnsw.{relation}.faiss"
            try:
                if path.stat().st_size != about["bytes"]:
                    raise ValueError(f"{about['bytes']} bytes were written")
                graphs[relation] = faiss.read_index(str(path))
                breadth[relation] = about["breadth"]
            except (OSError, ValueError, RuntimeError) as error:
                raise WorkspaceError(f"{path} is missing or damaged: {error}", hint="run `mmsc train` again") from error
        return cls(graphs, breadth)

    def nearest(self, relation: Relation, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows of about the `count` items whose keys have the greatest dot product with a vector (dim,)."""
        found: NDArray[np.int64] = self._graphs[relation].search(np.ascontiguousarray(vector)[None], count)[1][0]
        return found[found >= 0]


def add_hnsw(folder: Path, seed: int, smallest: int = SMALLEST, progress: Progress = SILENT) -> dict[Relation, float]:
    """Build graphs beside an index, if it is large and faiss is there; keep them if they find what exact search finds.

    Args:
        folder: the index.
        seed: of the queries on which recall is measured.
        smallest: the least number of items that are worth it.
        progress: told of every part.

    Returns:
        The recall of the exact ten best answers, per relation; empty where nothing was built, or kept.
    """
    index = Index.open(folder)
    if len(index) < smallest:
        return {}
    if not find_spec("faiss"):
        _LOG.info("index: exact search only; faiss would speed up a catalogue of %d items (extra `faiss`)", len(index))
        return {}
    import faiss

    faiss.omp_set_num_threads(usable_cores())
    sample = np.sort(numpy_generator(seed, "hnsw").choice(len(index), min(_SAMPLE, len(index)), replace=False))
    queries = [Query.of_item(index, index.ids[row]) for row in sample.tolist()]
    graphs = {relation: _build(index.vectors(relation).key, relation, progress) for relation in RELATIONS}
    about: dict[str, dict[str, Any]] = {}
    for relation in RELATIONS:
        exact = _answers(index, queries, relation, None)
        for breadth in _BREADTHS:
            found = _answers(index, queries, relation, Hnsw(graphs, dict.fromkeys(RELATIONS, breadth)))
            recall = float(
                np.mean([len(np.intersect1d(*both)) / len(both[0]) for both in zip(exact, found, strict=True)])
            )
            about[relation] = {"breadth": breadth, "recall": round(recall, 4)}
            if recall >= LEAST_RECALL:
                break
        _LOG.info("index: HNSW for %ss finds %.1f %% of the exact ten best", relation, 100 * recall)
    recalls = {relation: about[relation]["recall"] for relation in RELATIONS}
    if min(recalls.values()) < LEAST_RECALL:
        _LOG.warning("index: HNSW left out, as it finds less than %.0f %%: searching exactly", 100 * LEAST_RECALL)
        return {}
    for relation, graph in graphs.items():
        path = folder / f"hnsw.{relation}.faiss"
        faiss.write_index(graph, str(path))
        about[relation]["bytes"] = path.stat().st_size
    description = json.loads((folder / "index.json").read_bytes())
    write_json(folder / "index.json", description | {"hnsw": about})
    return recalls


def _build(keys: NDArray[np.float32], relation: Relation, progress: Progress) -> Any:
    import faiss

    # Linked by direction alone, as links by dot product all lead to the longest keys, and leave the others unreachable;
    # searched by dot product (docs/experiments.md, 2026-11-25).
    graph = faiss.IndexHNSWFlat(keys.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = _BREADTH_OF_BUILDING
    with progress.task(f"HNSW: {relation}", len(keys)) as task:
        for start in range(0, len(keys), _ADDED_AT_A_TIME):
            part = unit_rows(keys[start : start + _ADDED_AT_A_TIME])
            graph.add(part)
            task.advance(len(part))
    vectors: Any = faiss.downcast_index(graph.storage)
    faiss.rev_swig_ptr(vectors.get_xb(), keys.size)[:] = keys.ravel()
    return graph


def _answers(index: Index, queries: list[Query], relation: Relation, graphs: Hnsw | None) -> list[NDArray[np.int64]]:
    """The rows of the best answers to each query."""
    ranker = Ranker(index, Sieve(index, Filters()), TOP, graphs)
    size = block_size(len(index))
    blocks = (queries[start : start + size] for start in range(0, len(queries), size))
    return [ranked[0].rows for block in blocks for ranked in ranker.rank(Block.of_items(index, block, [relation]))]
