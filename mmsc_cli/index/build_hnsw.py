"""Build HNSW graphs for a large index, with faiss, and measure what they find."""

from __future__ import annotations

import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.index.filters import Filters, sieves
from mmsc_cli.index.graph_file import check_graph_file
from mmsc_cli.index.hnsw import Hnsw, file_names, graph_in
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import IndexRanker, QueryBlock, block_size
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import RELATIONS, Relation

_LOG = logging.getLogger(__name__)

# In smaller catalogues exact search is fast enough (`python -m benchmarks.infer sizes`).
SMALLEST = 200_000
LEAST_RECALL = 0.98
_TOP = 10
_SAMPLE = 500
_LONGEST = 0.02  # fraction of the keys that are scanned (docs/experiments.md, 2026-11-26)
_LINKS = 32
_BUILDING_BREADTH = 100
# Candidates that a search keeps in view, tried one after the other until the recall is reached.
_BREADTHS = (64, 128, 256, 512, 1_024, 2_048, 4_096)
_ADDED_AT_A_TIME = 10_000


def add_hnsw(folder: Path, seed: int, smallest: int = SMALLEST, progress: Progress = SILENT) -> dict[Relation, float]:
    """Build graphs beside an index if it is large and faiss is installed; keep them if their recall is high enough.

    Args:
        folder: the index.
        seed: of the queries on which recall is measured.
        smallest: the number of items from which graphs are built.
        progress: shows the building of each graph.

    Returns:
        The recall of the exact ten best answers, per relation; empty if nothing was built, or kept.
    """
    index = Index.open(folder)
    if len(index) < smallest:
        return {}
    if not find_spec("faiss"):
        _LOG.info("index: exact search only; the extra `faiss` speeds up a catalogue of %d items", len(index))
        return {}
    import faiss  # noqa: PLC0415  an extra, and slow to import

    sample = np.sort(numpy_generator(seed, "hnsw").choice(len(index), min(_SAMPLE, len(index)), replace=False))
    queries = [Query.of_item(index, index.ids[row]) for row in sample.tolist()]
    with ThreadPoolExecutor(len(RELATIONS)) as pool:
        built = pool.map(lambda relation: _build(index.vectors(relation).key, relation, progress), RELATIONS)
        parts = dict(zip(RELATIONS, built, strict=True))
    about: dict[str, dict[str, Any]] = {}
    for relation in RELATIONS:
        exact = _answers(index, queries, relation, None)
        for breadth in _BREADTHS:
            approximate = _answers(index, queries, relation, Hnsw(parts, dict.fromkeys(RELATIONS, breadth)))
            both = zip(exact, approximate, strict=True)
            recall = float(np.mean([len(np.intersect1d(best, near)) / len(best) for best, near in both]))
            about[relation] = {"breadth": breadth, "recall": round(recall, 4)}
            if recall >= LEAST_RECALL:
                break
        _LOG.info("index: HNSW for %ss finds %.1f %% of the exact ten best", relation, 100 * recall)
    recalls = {relation: about[relation]["recall"] for relation in RELATIONS}
    if min(recalls.values()) < LEAST_RECALL:
        _LOG.warning("index: HNSW finds less than %.0f %%, so search stays exact", 100 * LEAST_RECALL)
        return {}
    for relation, pair in parts.items():
        paths = [folder / name for name in file_names(relation)]
        for path, part in zip(paths, pair, strict=True):
            faiss.write_index(part, str(path))
            try:
                check_graph_file(path, graph=path is paths[1])
            except ValueError as error:
                _LOG.warning("index: mmsc does not know the graphs of this faiss (%s), so search stays exact", error)
                for written in (folder / name for one in parts for name in file_names(one)):
                    written.unlink(missing_ok=True)
                return {}
        about[relation]["bytes"] = [path.stat().st_size for path in paths]
    description = json.loads((folder / "index.json").read_bytes())
    write_json(folder / "index.json", description | {"hnsw": about})
    return recalls


def _build(keys: NDArray[np.float32], relation: Relation, progress: Progress) -> list[Any]:
    """The longest of the keys (n_items, dim) as a flat index, and a graph of the others; both return item rows."""
    import faiss  # noqa: PLC0415  an extra, and slow to import

    faiss.omp_set_num_threads(1)  # of this thread: one relation each, as links made by several differ from run to run
    dim = keys.shape[1]
    by_length = np.argsort(-np.linalg.norm(keys, axis=1), kind="stable")
    long, others = np.split(by_length, [math.ceil(_LONGEST * len(keys))])
    longest = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
    longest.add_with_ids(keys[long], long)
    # Links by dot product all lead to the longest keys and leave the others unreachable. So the graph is built of unit
    # vectors, and then given the keys themselves to be searched by dot product (docs/experiments.md, 2026-11-25).
    graph = faiss.IndexIDMap(faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_INNER_PRODUCT))
    graph_in(graph).hnsw.efConstruction = _BUILDING_BREADTH
    others.sort()
    with progress.task(f"HNSW: {relation}", len(others)) as task:
        for start in range(0, len(others), _ADDED_AT_A_TIME):
            part = others[start : start + _ADDED_AT_A_TIME]
            graph.add_with_ids(unit_rows(keys[part]), part)
            task.advance(len(part))
    # Overwriting the stored vectors in place is no documented use of faiss (tried with faiss-cpu 1.15); a test measures
    # the recall.
    vectors: Any = faiss.downcast_index(graph_in(graph).storage)
    faiss.rev_swig_ptr(vectors.get_xb(), len(others) * dim)[:] = keys[others].ravel()
    return [longest, graph]


def _answers(index: Index, queries: list[Query], relation: Relation, graphs: Hnsw | None) -> list[NDArray[np.int64]]:
    """The rows of the best answers to each query."""
    ranker = IndexRanker(index, sieves(index, Filters()), _TOP, graphs)
    size = block_size(len(index))
    blocks = (queries[start : start + size] for start in range(0, len(queries), size))
    return [ranked[0].rows for block in blocks for ranked in ranker.rank(QueryBlock.of_items(index, block, [relation]))]
