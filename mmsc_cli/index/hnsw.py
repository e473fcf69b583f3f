"""Approximate search for large catalogues: HNSW graphs (Malkov & Yashunin, TPAMI 2018), built and searched by faiss.

A dot product is great where the direction is right or the key is long, and a graph of directions finds no long keys. So
the longest keys of all are looked through one by one, and the graph holds the rest (parts by length: Yan et al.,
NeurIPS 2018). What is found, and the items of the linear branch, are then scored exactly: what is approximate is who is
looked at, never a score."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.relations import Relation

# Below so many items exact search is fast enough for anybody (`python -m benchmarks.infer sizes`).
SMALLEST = 200_000
LEAST_RECALL = 0.98
TOP = 10
_SAMPLE = 500
LONGEST = 0.02  # of all keys (docs/experiments.md, 2026-11-26)
_LINKS = 32
_BREADTH_OF_BUILDING = 100
# How many candidates a search keeps in view, tried one after the other until the recall is reached.
_BREADTHS = (64, 128, 256, 512, 1_024, 2_048, 4_096)
_ADDED_AT_A_TIME = 10_000
_LOG = logging.getLogger("mmsc_cli")


class Hnsw:
    """Of both relations the longest keys and the graph of the rest, opened."""

    def __init__(self, parts: dict[Relation, list[Any]], breadth: dict[Relation, int]) -> None:
        """Take faiss indexes over keys, and how many candidates to keep in view (at least those asked for)."""
        self._parts = parts
        for relation, (_, graph) in parts.items():
            _graph_in(graph).hnsw.efSearch = breadth[relation]

    @classmethod
    def open(cls, folder: Path, index: Index) -> Hnsw | None:
        """Open what training left beside an index, as memory maps; None, with a note, where faiss is not installed.

        Raises:
            WorkspaceError: a file is missing or damaged.
        """
        if not find_spec("faiss"):
            _LOG.info("searching exactly: faiss is not installed (pip install 'mmsc-cli[faiss]')")
            return None
        import faiss

        parts: dict[Relation, list[Any]] = {}
        breadth = {}
        for relation, about in index.about["hnsw"].items():
            breadth[relation] = about["breadth"]
            parts[relation] = []
            for name, size in zip(file_names(relation), about["bytes"], strict=True):
                path = folder / name
                try:
                    if path.stat().st_size != size:
                        raise ValueError(f"{size} bytes were written")
                    parts[relation].append(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
                except (OSError, ValueError, RuntimeError) as error:
                    raise WorkspaceError(
                        f"{path} is missing or damaged: {error}", hint="run `mmsc train` again"
                    ) from error
        return cls(parts, breadth)

    def nearest(self, relation: Relation, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows of items whose keys have the greatest dot product with a vector (dim,): `count` of each part."""
        query = np.ascontiguousarray(vector)[None]
        found: NDArray[np.int64] = np.concatenate([part.search(query, count)[1][0] for part in self._parts[relation]])
        return found[found >= 0]


def file_names(relation: Relation) -> tuple[str, str]:
    """The files beside an index that hold a relation's longest keys, and the graph of the rest."""
    return f"longest.{relation}.faiss", f"hnsw.{relation}.faiss"


def _graph_in(part: Any) -> Any:
    import faiss

    return faiss.downcast_index(part.index)
