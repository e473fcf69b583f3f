"""Finished answers on disk, so that a run which was stopped, or a larger one, asks nothing twice."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.files.unpacking import open_parquet
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.workspace.regular_file import refuse_irregular

Answered = str | list[Any]  # what JSON can hold
_SHARD = re.compile(r"answers-\d{6,}\.parquet", re.ASCII)
_SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "item_a", "item_b", "model", "version", "answer")])


class AnswerCache:
    """A folder of parquet shards, each written atomically: a run that is killed loses at most one.

    An answer is found again by the two item ids, model, version of the question, and the text the items were shown
    with, so that an item whose title changed is asked about anew. Without a folder nothing outlives the run.
    """

    def __init__(self, folder: Path | None, model: str) -> None:
        """Read the shards of the folder.

        Raises:
            WorkspaceError: a shard is damaged.
        """
        self._folder = folder
        self._model = model
        self._known: dict[str, Answered] = {}
        self._shards = 0
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for shard in sorted(path for path in folder.iterdir() if _SHARD.fullmatch(path.name)):
            self._known |= _read(shard)
            self._shards = int(shard.stem.removeprefix("answers-"))

    def key(self, version: str, ids: tuple[str, str], quoted: tuple[str, str]) -> str:
        """The key of a pair, given by the version of the question, item ids and the texts shown to the model."""
        return blake2b("\0".join((*ids, self._model, version, *quoted)).encode(), digest_size=16).hexdigest()

    def get(self, key: str) -> Answered | None:
        """The finished answer, if there is one."""
        return self._known.get(key)

    def add(self, version: str, finished: Sequence[tuple[str, tuple[str, str], Answered]]) -> None:
        """Keep a shard of (key, item ids, answer)."""
        self._known |= {key: answer for key, _, answer in finished}
        if self._folder is None or not finished:
            return
        self._shards += 1
        constant = {"model": self._model, "version": version}
        rows = [
            {"key": key, "item_a": item_a, "item_b": item_b, **constant, "answer": json.dumps(answer)}
            for key, (item_a, item_b), answer in finished
        ]
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        with atomic_write(self._folder / f"answers-{self._shards:06d}.parquet") as file:
            pq.write_table(table.replace_schema_metadata({"sha256": _checksum(table)}), file, compression="zstd")


def _read(shard: Path) -> dict[str, Answered]:
    try:
        # Not with our schema, which would fill missing columns with nulls.
        with open_parquet(refuse_irregular(shard)) as file:
            table = file.read()
        if (table.schema.metadata or {}).get(b"sha256") != _checksum(table).encode():
            raise ValueError("its content has another checksum")
        if "answer" not in table.column_names:
            return {}  # answers to a question that is asked no more
        return dict(zip(table["key"].to_pylist(), map(json.loads, table["answer"].to_pylist()), strict=True))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError, pa.ArrowException) as error:
        raise WorkspaceError(f"{shard} is damaged: {error}", hint="delete it; its pairs are asked again") from error


def _checksum(table: pa.Table) -> str:
    """Hash a shard's content: without it, training would use a flipped bit unnoticed."""
    return sha256(json.dumps(table.to_pylist()).encode()).hexdigest()
