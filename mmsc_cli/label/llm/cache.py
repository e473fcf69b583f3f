"""Finished answers on disk, so that a run which was stopped, or a larger one, asks nothing twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import blake2b, sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.label.llm.opinion import Opinion
from mmsc_cli.runtime.atomic import atomic_write

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("item_a", pa.string()),
        ("item_b", pa.string()),
        ("model", pa.string()),
        ("prompt_version", pa.string()),
        *((name, pa.float64()) for name in ("p_substitute", "p_complement", "p_neither")),
        ("direction", pa.string()),
        *((name, pa.float64()) for name in ("label_mass", "agreement")),
    ]
)


class AnswerCache:
    """A folder of parquet shards, each written atomically: a run that is killed loses at most one.

    An answer is found again by the two item ids, model, prompt version, and the text the items were shown
    with, so that an item whose title changed is asked about anew. Without a folder nothing outlives the run.
    """

    def __init__(self, folder: Path | None, model: str, prompt_version: str) -> None:
        """Read the shards of the folder.

        Raises:
            WorkspaceError: a shard is damaged.
        """
        self._folder = folder
        self._model = model
        self._prompt_version = prompt_version
        self._known: dict[str, Opinion] = {}
        self._shards = 0
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for shard in sorted(folder.glob("answers-*.parquet")):
            self._known |= _read(shard)
            self._shards = int(shard.stem.removeprefix("answers-"))

    def key(self, item_a: str, item_b: str, quoted_a: str, quoted_b: str) -> str:
        """The key of a pair, given by item ids and the texts shown to the model."""
        parts = (item_a, item_b, self._model, self._prompt_version, quoted_a, quoted_b)
        return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def get(self, key: str) -> Opinion | None:
        """The finished answer to a pair, if there is one."""
        return self._known.get(key)

    def add(self, finished: Sequence[tuple[str, str, str, Opinion]]) -> None:
        """Keep a shard of (key, item a, item b, opinion)."""
        rows = [
            {"key": key, "item_a": item_a, "item_b": item_b, **asdict(opinion)}
            for key, item_a, item_b, opinion in finished
        ]
        self._known |= {key: opinion for key, _, _, opinion in finished}
        if self._folder is None or not rows:
            return
        self._shards += 1
        constant = {"model": self._model, "prompt_version": self._prompt_version}
        table = pa.Table.from_pylist([row | constant for row in rows], schema=_SCHEMA)
        with atomic_write(self._folder / f"answers-{self._shards:06d}.parquet") as file:
            pq.write_table(table.replace_schema_metadata({"sha256": _checksum(table)}), file, compression="zstd")


def _read(shard: Path) -> dict[str, Opinion]:
    try:
        # Not with our schema, which would fill missing columns with nulls.
        table = pq.read_table(shard)
        if (table.schema.metadata or {}).get(b"sha256") != _checksum(table).encode():
            raise ValueError("its content has another checksum")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise WorkspaceError(f"{shard} is damaged: {error}", hint="delete it; its pairs are asked again") from error
    keys = table["key"].to_pylist()
    values = table.select(list(Opinion.__dataclass_fields__)).to_pylist()
    return {key: Opinion(**value) for key, value in zip(keys, values, strict=True)}


def _checksum(table: pa.Table) -> str:
    """Hash a shard's content: without it, training would use a flipped bit unnoticed."""
    return sha256(json.dumps(table.to_pylist()).encode()).hexdigest()
