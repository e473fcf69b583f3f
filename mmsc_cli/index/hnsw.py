"""Approximate search for large catalogues: HNSW graphs (Malkov & Yashunin, TPAMI 2018), built and searched by faiss.

Inner products favour long vectors, which a cosine graph misses. So the longest 2 % of the keys are scanned exactly and
the rest are put in an HNSW graph (parts by length: Yan et al., NeurIPS 2018). Only candidate generation is approximate;
the candidates, and the items of the linear branch, are scored exactly."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.graph_file import check_graph_file
from mmsc_cli.index.index_file import Index
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.tables.relations import Relation

_LOG = logging.getLogger(__name__)


class Hnsw:
    """Per relation the longest keys and the graph of the rest, opened."""

    def __init__(self, parts: dict[Relation, list[Any]], breadth: dict[Relation, int]) -> None:
        """Take faiss indexes over keys, and per relation the number of candidates that a search keeps in view."""
        self._parts = parts
        for relation, (_, graph) in parts.items():
            graph_in(graph).hnsw.efSearch = breadth[relation]

    @classmethod
    def open(cls, folder: Path, index: Index) -> Hnsw | None:
        """Map the graphs that training left beside an index; None, with a log line, if faiss is not installed.

        Raises:
            WorkspaceError: a file is missing or damaged.
        """
        if not find_spec("faiss"):
            _LOG.info("searching exactly: faiss is not installed (%s)", extra_command("faiss"))
            return None
        import faiss  # noqa: PLC0415  an extra, and slow to import

        parts: dict[Relation, list[Any]] = {}
        breadth = {}
        for relation, graph_of in index.about["hnsw"].items():
            breadth[relation] = graph_of["breadth"]
            parts[relation] = []
            for name, size in zip(file_names(relation), graph_of["bytes"], strict=True):
                path = folder / name
                try:
                    if path.stat().st_size != size:
                        raise ValueError(f"{size} bytes were written")
                    check_graph_file(path, graph=len(parts[relation]) == 1)
                    parts[relation].append(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
                    _check(parts[relation][-1], graph=len(parts[relation]) == 2, index=index, relation=relation)
                except (OSError, ValueError, RuntimeError) as error:
                    raise WorkspaceError(
                        f"{path} is missing or damaged: {error}", hint="run `mmsc train` again"
                    ) from error
        return cls(parts, breadth)

    def nearest(self, relation: Relation, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows of items whose keys have the largest dot product with a vector (dim,): `count` of each part."""
        query = np.ascontiguousarray(vector)[None]
        rows: NDArray[np.int64] = np.concatenate([part.search(query, count)[1][0] for part in self._parts[relation]])
        return rows[rows >= 0]


def _check(part: Any, *, graph: bool, index: Index, relation: Relation) -> None:
    """Check that an opened file holds what `build_hnsw` builds; faiss itself has checked the graph's links.

    Raises:
        ValueError: it is another kind of index, or of other items.
    """
    import faiss  # noqa: PLC0415  an extra, and slow to import

    kind: Any = faiss.IndexHNSWFlat if graph else faiss.IndexFlatIP
    inner: Any = faiss.downcast_index(part.index) if isinstance(part, faiss.IndexIDMap) else None
    if not isinstance(inner, kind):
        raise ValueError("it is another kind of index")
    if graph and inner.hnsw.entry_point < 0 < part.ntotal:
        raise ValueError("its graph has no entry")
    dim = index.vectors(relation).key.shape[1]
    if (part.d, inner.d, part.metric_type, inner.metric_type) != (dim, dim, *[faiss.METRIC_INNER_PRODUCT] * 2):
        raise ValueError("it holds other vectors")
    rows = faiss.vector_to_array(part.id_map)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(index):
        raise ValueError("it names items that are not in the catalogue")


def file_names(relation: Relation) -> tuple[str, str]:
    """The files beside an index that hold a relation's longest keys and the graph of the rest."""
    return f"longest.{relation}.faiss", f"hnsw.{relation}.faiss"


def graph_in(part: Any) -> Any:
    """The HNSW graph behind the map of its item rows."""
    import faiss  # noqa: PLC0415  an extra, and slow to import

    return faiss.downcast_index(part.index)
