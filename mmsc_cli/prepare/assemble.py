"""Turn what a source delivered into tables: items by id, relations as unordered pairs, partners outside the catalogue.

DuckDB joins and sorts, and spills to disk what does not fit into its share of memory.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.index.kept_columns import NAME as KEPT
from mmsc_cli.index.kept_columns import write_kept_columns
from mmsc_cli.prepare.counts import LOSSES
from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.records import LIST_STRENGTH, Delivery, Kind
from mmsc_cli.prepare.settings import SplitSettings
from mmsc_cli.prepare.split import split_items, split_pairs
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.tables.items import ITEM_SCHEMA
from mmsc_cli.tables.outside import INWARD, OUTSIDE_SCHEMA, OUTWARD
from mmsc_cli.tables.pairs import STRENGTHS, TOGETHER, Pairs, PairSplit
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.tables.truth import TRUTH_SCHEMA

ROW_GROUP = 20_000
FATES = (
    "relations_of_repeated_records",
    "relations_outside",
    "relations_to_itself",
    "relations_within_group",
    "relations_without_strength",
)
# Beyond this number of variants, not all of them take over what is known of one; a group may be none of variants.
MOST_VARIANTS = 100

# The richest record of each id, and its row in the item table. Of equally rich ones what they say decides, not where
# they stand: the same records in another order make the same catalogue.
_REPEATED = """
CREATE TABLE repeated_ids AS SELECT item_id FROM read_parquet($records) GROUP BY item_id HAVING count(*) > 1
"""
_ROWS = """
CREATE TABLE item_rows AS
SELECT item_id, record, (row_number() OVER (ORDER BY item_id) - 1)::INTEGER AS item_row
FROM (
    SELECT item_id, record FROM read_parquet($records) ANTI JOIN repeated_ids USING (item_id)
    UNION ALL
    SELECT item_id, record
    FROM read_parquet($records) SEMI JOIN repeated_ids USING (item_id)
    QUALIFY row_number() OVER (
        PARTITION BY item_id
        ORDER BY
            richness DESC, title, description, brand, category, price, image_url, image_path, "group", views, purchases,
            kept, record
    ) = 1
)
"""
# The first variant stands for its group. The name of a group means its first variant, unless it is also an item's id.
_GROUPS = """
CREATE TABLE item_groups AS
SELECT item_row, first_value(item_row) OVER (PARTITION BY g ORDER BY item_row) AS unit, g,
    row_number() OVER (PARTITION BY g ORDER BY item_row) AS position
FROM item_rows JOIN (SELECT record, "group" AS g FROM read_parquet($records)) USING (record)
WHERE g IS NOT NULL
"""
_ENDS = """
CREATE TABLE ends AS
SELECT item_id AS name, item_row, coalesce(unit, item_row) AS unit FROM item_rows LEFT JOIN item_groups USING (item_row)
UNION ALL
SELECT g, item_row, item_row FROM item_groups
WHERE position = 1 AND NOT EXISTS (SELECT 1 FROM item_rows WHERE item_id = g)
"""
# What is known of a variant goes for its siblings too.
_COPIES = """
CREATE TABLE copies AS
SELECT sibling.item_row AS source, target, view, buy, views_together, purchases_together
FROM relations
JOIN item_groups variant ON variant.item_row = source
JOIN item_groups sibling ON sibling.unit = variant.unit AND sibling.item_row <> source
WHERE fate IS NULL AND sibling.position <= $most
UNION ALL
SELECT source, sibling.item_row, view, buy, views_together, purchases_together
FROM relations
JOIN item_groups variant ON variant.item_row = target
JOIN item_groups sibling ON sibling.unit = variant.unit AND sibling.item_row <> target
WHERE fate IS NULL AND sibling.position <= $most
"""
# `fate` says why a relation is dropped, null where it is kept. The first that fits counts. `partner` is the id of an
# end that the catalogue lacks, where the other end is an item: such relations go to the outside table.
_FROM_LISTS = f"""
INSERT INTO relations
SELECT s.item_row, t.item_row, view * strength, (1 - view) * strength, CASE
    WHEN s.item_row IS NULL THEN 'relations_of_repeated_records'
    WHEN t.item_row IS NULL THEN 'relations_outside'
    WHEN s.item_row = t.item_row THEN 'relations_to_itself'
    WHEN s.unit = t.unit THEN 'relations_within_group'
END AS fate, CASE WHEN fate = 'relations_outside' AND target <> '' THEN target END, NULL, NULL
FROM (
    SELECT record, target, view, {LIST_STRENGTH} AS strength FROM (
        SELECT record, 1 AS view, unnest(views) AS target, generate_subscripts(views, 1) AS position
        FROM read_parquet($parts)
        UNION ALL
        SELECT record, 0 AS view, unnest(purchases), generate_subscripts(purchases, 1) FROM read_parquet($parts)
    )
)
LEFT JOIN (SELECT record, ends.* FROM item_rows JOIN ends ON name = item_id) s USING (record)
LEFT JOIN ends t ON t.name = target
"""
_FROM_RELATIONS = """
INSERT INTO relations
SELECT s.item_row, t.item_row, r.view, r.buy, CASE
    WHEN s.item_row IS NULL OR t.item_row IS NULL THEN 'relations_outside'
    WHEN s.item_row = t.item_row THEN 'relations_to_itself'
    WHEN s.unit = t.unit THEN 'relations_within_group'
    WHEN NOT (r.view > 0 OR r.buy > 0) THEN 'relations_without_strength'
END AS fate, CASE WHEN (r.view > 0 OR r.buy > 0) AND fate = 'relations_outside' THEN CASE
    WHEN t.item_row IS NULL AND s.item_row IS NOT NULL THEN nullif(r.target, '')
    WHEN s.item_row IS NULL AND t.item_row IS NOT NULL THEN nullif(r.source, '')
END END, r.views_together, r.purchases_together
FROM read_parquet($parts) r
LEFT JOIN ends s ON s.name = r.source
LEFT JOIN ends t ON t.name = r.target
"""
_WITHIN_GROUPS = """
SELECT count(*) FILTER (fate IS NULL), count(*) FILTER (fate = 'relations_within_group') FROM relations
"""
# Variants of a product are of one category.
_ABOUT_GROUPS = """
SELECT count(*), count(*) FILTER (categories > 1), max(items)
FROM (
    SELECT g, count(*) AS items, count(DISTINCT category) FILTER (len(category) > 0) AS categories
    FROM item_groups
    JOIN item_rows USING (item_row)
    JOIN (SELECT record, category FROM read_parquet($records)) USING (record)
    GROUP BY g
    HAVING count(*) > 1
)
"""
_DROPPED = "SELECT fate, count(*) FROM relations WHERE fate IS NOT NULL GROUP BY fate"
# How many of the six things that a relation can say (either direction; viewed, bought or both) were said of a pair.
# The rest are repetitions.
_STATEMENTS = """coalesce(bit_count(bit_or(
    1::UTINYINT << (3 * ({turned})::INTEGER + (view > 0)::INTEGER + 2 * (buy > 0)::INTEGER - 1)
) FILTER (stated)), 0)"""
# A repeated relation keeps its greatest strength.
_FOLD = f"""
CREATE TABLE pairs AS
SELECT
    least(source, target) AS a,
    greatest(source, target) AS b,
    max(CASE WHEN source < target THEN view ELSE 0 END) AS view_ab,
    max(CASE WHEN source > target THEN view ELSE 0 END) AS view_ba,
    max(CASE WHEN source < target THEN buy ELSE 0 END) AS buy_ab,
    max(CASE WHEN source > target THEN buy ELSE 0 END) AS buy_ba,
    coalesce(max(views_together), 0)::INTEGER AS views_together,
    coalesce(max(purchases_together), 0)::INTEGER AS purchases_together,
    count(*) FILTER (stated) AS statements,
    count(*) FILTER (stated) - {_STATEMENTS.format(turned="source > target")} AS repeated
FROM (
    SELECT * EXCLUDE (fate, partner), true AS stated FROM relations WHERE fate IS NULL
    UNION ALL
    SELECT *, false FROM copies
)
GROUP BY a, b
"""
_KEPT = "SELECT sum(statements)::BIGINT, sum(repeated)::BIGINT, count(*) FROM pairs"
# A partner that only one item has relates no two items. The numbers follow the ids, so that the order of the input does
# not matter.
_PARTNERS = """
CREATE TABLE partners AS
SELECT partner, (row_number() OVER (ORDER BY partner) - 1)::INTEGER AS number
FROM relations
WHERE partner IS NOT NULL
GROUP BY partner
HAVING count(DISTINCT coalesce(source, target)) > 1
"""
_PARTNER_COUNTS = """
SELECT count(DISTINCT partner) - (SELECT count(*) FROM partners), (SELECT count(*) FROM partners) FROM relations
"""
_OUTSIDE = """
CREATE TABLE outside AS
SELECT coalesce(source, target) AS item, number AS outside, target IS NULL AS outward, view, buy, true AS stated
FROM relations JOIN partners USING (partner)
"""
_OUTSIDE_REPEATED = f"""
SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(repeated), 0)::BIGINT FROM (
    SELECT count(*) AS n, count(*) - {_STATEMENTS.format(turned="outward")} AS repeated
    FROM outside GROUP BY item, outside
)
"""
_OUTSIDE_ROWS = """
SELECT item, outside, relation, outward, max(strength) AS strength
FROM (
    SELECT item, outside, 0::UTINYINT AS relation, outward, view AS strength FROM outside WHERE view > 0
    UNION ALL
    SELECT item, outside, 1::UTINYINT, outward, buy FROM outside WHERE buy > 0
)
GROUP BY item, outside, relation, outward
ORDER BY item, outside, relation, outward
"""
_IMAGES_IN_ORDER = """
SELECT image_url, image_path
FROM read_parquet($records) JOIN item_rows USING (record)
ORDER BY item_row
"""
_RECORDS_IN_ORDER = """
SELECT records.* EXCLUDE (record, richness, views, purchases) REPLACE (g AS "group")
FROM read_parquet($records) records JOIN item_rows USING (record) LEFT JOIN item_groups USING (item_row)
ORDER BY item_row
"""
# Where an image of each item lies: from ids, addresses and paths as delivered to paths in the workspace.
PlaceImages = Callable[[list[str], list[str | None], list[str | None]], list[str | None]]


@dataclass(frozen=True)
class Assembled:
    """The two tables' counts, and the truth table (rows of the item table) where there is one."""

    counts: dict[str, Any]
    truth: pa.Table | None


def assemble(
    delivery: Delivery,
    items_path: Path,
    pairs_path: Path,
    outside_path: Path,
    split: SplitSettings,
    seed: int,
    place_images: PlaceImages | None = None,
    keep: Sequence[str] = (),
) -> Assembled:
    """Write the item table, the pair table and the outside table; beside the items, the columns that are kept.

    Args:
        delivery: what the source delivered, complete.
        items_path: where the item table goes.
        pairs_path: where the pair table goes.
        outside_path: where the outside table goes.
        split: the shares held out.
        seed: of the hold-out.
        place_images: says where each item's image lies in the workspace; None leaves the paths as delivered.
        keep: the names of the columns whose values the records hold as `kept`.

    Raises:
        InputError: there are no items or no pairs.
    """
    with Engine(delivery.folder) as engine:
        item_ids = _choose_records(engine, delivery)
        _relate(engine, delivery)
        unit_ids = _unit_ids(engine, item_ids)
        item_splits = split_items(unit_ids, split, seed)
        counts: dict[str, Any] = {"items": len(item_ids), "item_splits": dict(Counter(item_splits.tolist()))}
        columns, relation_counts = _fold(engine, outside_path)
        pairs = Pairs(**columns, split=split_pairs(unit_ids, item_splits, columns["a"], columns["b"], split, seed))
        pairs.write(pairs_path)
        counts |= relation_counts | _pair_counts(pairs)
        del pairs, columns
        truth = None if delivery.truth is None else _renumber_truth(delivery.truth, engine)
        paths = None
        if place_images is not None:
            named = engine.run(_IMAGES_IN_ORDER, records=delivery.parts("records"))
            paths = place_images(item_ids, [url for url, _ in named], [path for _, path in named])
        kept: dict[str, list[str | None]] = {name: [] for name in keep}
        counts["without_title"] = _write_items(engine, delivery, items_path, item_splits, paths, kept)
        if keep:
            delivery.warnings += write_kept_columns(items_path.with_name(KEPT), item_ids, kept)
    return Assembled(counts, truth)


def _choose_records(engine: Engine, delivery: Delivery) -> list[str]:
    if records := delivery.parts("records"):
        engine.run(_REPEATED, records=records)
        engine.run(_ROWS, records=records)
        engine.run(_GROUPS, records=records)
        engine.run(_ENDS)
        ids: list[str] = engine.columns("SELECT item_id FROM item_rows ORDER BY item_row")["item_id"].tolist()
        if ids:
            return ids
    raise InputError("the source has no usable items", hint="look at the counts with `mmsc prepare SOURCE -v`")


def _unit_ids(engine: Engine, item_ids: list[str]) -> list[str]:
    """The id of each item, of a variant that of the first of its group; shape (n_items,)."""
    units = list(item_ids)
    for row, unit in engine.run("SELECT item_row, unit FROM item_groups WHERE item_row <> unit"):
        units[row] = item_ids[unit]
    return units


def _relate(engine: Engine, delivery: Delivery) -> None:
    """Make `relations`. Groups that hold all of them are passed over if they cannot be variants.

    Raises:
        InputError: all relations are between variants of one product.
    """
    _load_relations(engine, delivery)
    ((kept, within),) = engine.run(_WITHIN_GROUPS)
    if kept or not within:
        return
    ((groups, mixed, largest),) = engine.run(_ABOUT_GROUPS, records=delivery.parts("records"))
    if largest <= MOST_VARIANTS and mixed * 2 <= groups:
        raise InputError(
            f"all relations of two items ({within:,}) are between variants of one product, and say nothing of others",
            hint="give views or purchases of different products too; if group is no column of variants, take it out of "
            "[source.columns], or give it another name in the file",
        )
    engine.run("DELETE FROM item_groups")
    engine.run("DROP TABLE ends")
    engine.run(_ENDS)
    engine.run("DROP TABLE relations")
    _load_relations(engine, delivery)
    delivery.warnings.append(
        f"all relations of two items ({within:,}) are within groups that cannot be variants of a product (the largest "
        f"has {counted(largest, 'item')}; with several categories: {mixed:,} of {groups:,}): every item stands alone; "
        "map another column to group under [source.columns]"
    )


def _load_relations(engine: Engine, delivery: Delivery) -> None:
    fate = f"ENUM ({', '.join(map(literal, FATES))})"
    engine.run(
        "CREATE TABLE relations (source INTEGER, target INTEGER, view FLOAT, buy FLOAT, "
        f"fate {fate}, partner VARCHAR, views_together INTEGER, purchases_together INTEGER)"
    )
    statements: dict[Kind, str] = {"records": _FROM_LISTS, "relations": _FROM_RELATIONS}
    for kind, statement in statements.items():
        if parts := delivery.parts(kind):
            engine.run(statement, parts=parts)


def _fold(engine: Engine, outside_path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Unordered pairs in (a, b) order with four strengths, and what became of the relations."""
    counts = dict.fromkeys(FATES, 0) | dict(engine.run(_DROPPED))
    counts |= _write_outside(engine, outside_path)
    engine.run(_COPIES, most=MOST_VARIANTS)
    engine.run(_FOLD)
    engine.run("DROP TABLE copies")
    ((kept, repeated, pairs),) = engine.run(_KEPT)
    engine.run("DROP TABLE relations")
    if not pairs:
        lost = "; ".join(f"{LOSSES[name]}: {counts[name]:,}" for name in FATES if counts[name])
        raise InputError(
            "the source has no pair of items that are both in the catalogue" + (f": {lost}" if lost else ""),
            hint="check that the ids in the relations are the ids of the items, and that strengths are above 0",
        )
    counts["relations_outside"] -= counts["relations_outside_kept"] + counts["relations_repeated"]
    counts["relations_repeated"] += repeated
    counts["relations_kept"] = kept - repeated
    columns = engine.columns(f"SELECT a, b, {', '.join([*STRENGTHS, *TOGETHER.values()])} FROM pairs ORDER BY a, b")
    engine.run("DROP TABLE pairs")
    return columns, counts


def _write_outside(engine: Engine, path: Path) -> dict[str, int]:
    """Write the outside table, and return how many of the relations and of the partners are in it."""
    engine.run(_PARTNERS)
    engine.run(_OUTSIDE)
    ((statements, repeated),) = engine.run(_OUTSIDE_REPEATED)
    ((of_one_item, partners),) = engine.run(_PARTNER_COUNTS)
    columns = engine.columns(_OUTSIDE_ROWS)
    relation = pa.DictionaryArray.from_arrays(columns["relation"], list(RELATIONS))
    direction = pa.DictionaryArray.from_arrays(columns.pop("outward").astype(np.int8), [INWARD, OUTWARD])
    table = pa.table(columns | {"relation": relation, "direction": direction})
    with atomic_write(path) as file:
        pq.write_table(table.select(OUTSIDE_SCHEMA.names).cast(OUTSIDE_SCHEMA), file, compression="zstd")
    engine.run("DROP TABLE outside")
    engine.run("DROP TABLE partners")
    return {
        "relations_repeated": repeated,
        "relations_outside_kept": statements - repeated,
        "outside_partners": partners,
        "outside_partners_of_one_item": of_one_item,
    }


def _pair_counts(pairs: Pairs) -> dict[str, Any]:
    return {
        "pairs": len(pairs),
        "co_view_pairs": int(pairs.holds("substitute").sum()),
        "co_purchase_pairs": int(pairs.holds("complement").sum()),
        "pairs_in_both": int(pairs.ambiguous().sum()),
        "pair_splits": {split: int((pairs.split == split).sum()) for split in get_args(PairSplit)},
    }


def _write_items(
    engine: Engine,
    delivery: Delivery,
    path: Path,
    splits: NDArray[np.str_],
    image_paths: list[str | None] | None,
    kept: Mapping[str, list[str | None]],
) -> int:
    """Write the item table, some rows at a time, and return how many items have no title; add values to `kept`."""
    row = without_title = 0
    with atomic_write(path) as file, pq.ParquetWriter(file, ITEM_SCHEMA, compression="zstd") as writer:
        for batch in engine.batches(_RECORDS_IN_ORDER, ROW_GROUP, records=delivery.parts("records")):
            end = row + len(batch)
            columns = {name: batch[name] for name in batch.schema.names} | {"split": pa.array(splits[row:end])}
            if image_paths is not None:
                columns["image_path"] = pa.array(image_paths[row:end], pa.string())
            # The engine forgets which columns have no nulls, and what the elements of a list are called.
            writer.write_table(pa.table({name: columns[name] for name in ITEM_SCHEMA.names}).cast(ITEM_SCHEMA))
            for values in batch["kept"].to_pylist() if kept else ():
                for column, value in zip(kept.values(), values or [None] * len(kept), strict=True):
                    column.append(None if value is None else sys.intern(value))
            without_title += pc.sum(pc.equal(columns["title"], "")).as_py() or 0
            row = end
    return without_title


def _renumber_truth(truth: pa.Table, engine: Engine) -> pa.Table:
    matched = engine.columns("SELECT record, item_row FROM item_rows")
    row_of = np.empty(len(matched["record"]), np.int64)
    row_of[matched["record"]] = matched["item_row"]
    a, b = row_of[truth["a"].to_numpy()], row_of[truth["b"].to_numpy()]
    swapped = a > b
    turned = {"a_to_b": "b_to_a", "b_to_a": "a_to_b"}
    direction = [
        turned.get(value, value) if swap else value
        for value, swap in zip(truth["direction"].to_pylist(), swapped, strict=True)
    ]
    columns = {
        "a": np.minimum(a, b),
        "b": np.maximum(a, b),
        "substitute": truth["substitute"],
        "complement": truth["complement"],
        "direction": direction,
    }
    table = pa.table(columns).cast(TRUTH_SCHEMA)
    return table.take(np.lexsort((table["b"].to_numpy(), table["a"].to_numpy())))
