"""What a person should look at before training: prepare a source aside, and describe what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare.counts import LOSSES, MENDS
from mmsc_cli.prepare.inputs import PrepareRecipe
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import EVIDENCE, RELATIONS
from mmsc_cli.workspace.stages import StageFiles
from mmsc_cli.workspace.strange_folder import refuse_strange_folder
from mmsc_cli.workspace.workspace import Workspace

_COLUMNS = ("title", "brand", "category", "price", "image_url", "image_path", "group")
# A share of empty cells, or of items without pairs, above which a person should look.
_MOST = 0.5
# What a source may well do without: nothing is wrong where no item has it.
_WITHOUT_ANY = {
    "price": "no item has a price: --price-within does not apply",
    "image": "no item names an image: text and behaviour alone decide",
}


def check(
    recipe: PrepareRecipe,
    *,
    inputs: Sequence[Path] = (),
    recipe_directory: Path = Path(),
    progress: Progress = SILENT,
    copies: Copies | None = None,
) -> dict[str, dict[str, Any]]:
    """Read a source as `prepare` does, keep nothing, and describe it.

    Args:
        recipe: what to read and how to split it.
        inputs: as for `prepare`.
        recipe_directory: as for `prepare`.
        progress: told how far the reading is.
        copies: as for `prepare`.

    Returns:
        Figures by topic, as JSON values: `problems` first, then `rows`, `items` (with the fractions of empty cells),
        `log` and `ids` of an event log, `pairs` with their numbers per item, what was `lost` or `mended`, and `notes`
        of what the source does without.

    Raises:
        InputError: the source is not what it must be.
        UnreachableError: the download failed.
    """
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "check")
        counts = prepare(
            workspace,
            recipe,
            inputs=inputs,
            recipe_directory=recipe_directory,
            progress=progress,
            checking=True,
            copies=copies,
        )
        return _report(workspace, counts)


def check_prepared(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Describe what is prepared in a workspace, as `check` describes a source.

    Raises:
        WorkspaceError: nothing is, or it is damaged.
    """
    refuse_strange_folder(workspace.root)
    workspace.check_inputs(StageFiles(makes=(), needs=("items.parquet", "pairs.parquet")), "check")
    return _report(workspace, workspace.manifest().stages["prepare"].counts)


def _report(workspace: Workspace, counts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    items = read_items(workspace.path("items.parquet"), columns=list(_COLUMNS))
    pairs = Pairs.read(workspace.path("pairs.parquet"))
    described = _items(items, counts)
    related = {EVIDENCE[relation]: _degrees(pairs, relation, items.num_rows) for relation in RELATIONS}
    problems = [*counts.get("warnings", []), *_doubts(described, related, items.num_rows)]
    notes = [note for name, note in _WITHOUT_ANY.items() if described[f"without {name}"] == 1]
    report: dict[str, dict[str, Any]] = {
        "problems": {str(number): problem for number, problem in enumerate(problems, start=1)},
        "rows": {name: counts[name] for name in ("records", "relations", "events") if name in counts},
        "items": described,
        "log": _log(counts),
        "ids": dict(counts.get("ids", {})),
        "pairs": _pairs(counts) | related,
        "lost": {meaning: counts[name] for name, meaning in LOSSES.items() if counts.get(name)},
        "mended": {meaning: counts[name] for name, meaning in MENDS.items() if counts.get(name)},
        "notes": {str(number): note for number, note in enumerate(notes, start=1)},
    }
    return {topic: figures for topic, figures in report.items() if figures or topic == "problems"}


def _pairs(counts: Mapping[str, Any]) -> dict[str, Any]:
    figures = {"all": "pairs", "in both relations": "pairs_in_both"}
    if "log" not in counts:  # of a log, it is pairs of variants that are also said of their groups
        figures["rows that repeat one"] = "relations_repeated"
    # Earlier versions counted less.
    return {meaning: counts[name] for meaning, name in figures.items() if name in counts}


def _log(counts: Mapping[str, Any]) -> dict[str, Any]:
    if "log" not in counts:
        return {}
    return dict(counts["log"]) | {"events repeated within a session": counts["events_repeated"]}


def _items(items: pa.Table, counts: Mapping[str, Any]) -> dict[str, Any]:
    rows = items.num_rows
    price = items["price"].combine_chunks()
    filled = {
        "title": pc.not_equal(items["title"], ""),
        "brand": pc.not_equal(items["brand"], ""),
        "category": pc.greater(pc.list_value_length(items["category"]), 0),
        "price": pc.invert(pc.is_nan(price)),
        "image": pc.or_(pc.is_valid(items["image_url"]), pc.is_valid(items["image_path"])),
    }
    figures: dict[str, Any] = {"items": rows}
    for name, mask in filled.items():
        figures[f"without {name}"] = round(1 - (pc.sum(mask).as_py() or 0) / rows, 4)
    groups = items["group"].drop_null()
    # An item without a group is a product of its own.
    products = pc.coalesce(items["group"], pc.cast(pa.array(np.arange(rows)), pa.string()))
    titles = items.append_column("product", products).filter(filled["title"]).group_by(["title", "product"])
    shared = titles.aggregate([]).group_by("title").aggregate([("title", "count")]).filter(pc.field("title_count") > 1)
    figures["variants"] = len(groups)
    figures["groups of variants"] = len(groups.unique())
    if "repeated" in counts:
        figures["records with an id twice"] = counts["repeated"]
    figures["titles of several products"] = shared.num_rows
    if shared.num_rows:
        figures["for example"] = sorted(shared["title"].to_pylist())[:3]
    return figures


def _degrees(pairs: Pairs, relation: Any, n_items: int) -> dict[str, Any]:
    """How many pairs there are, and how many an item has."""
    holds = pairs.holds(relation)
    degrees = np.bincount(np.concatenate([pairs.a[holds], pairs.b[holds]]), minlength=n_items)
    low, median, high = np.quantile(degrees, [0.1, 0.5, 0.9], method="higher")
    return {
        "pairs": int(holds.sum()),
        "items without one": int((degrees == 0).sum()),
        "per item, 10th percentile": int(low),
        "per item, median": int(median),
        "per item, 90th percentile": int(high),
        "per item, maximum": int(degrees.max()),
    }


def _doubts(items: Mapping[str, Any], related: Mapping[str, Mapping[str, Any]], n_items: int) -> list[str]:
    doubts = [
        f"{items[f'without {name}']:.0%} of the items have no {name}"
        for name in ("category", "price", "image")
        if items[f"without {name}"] > _MOST and not (name in _WITHOUT_ANY and items[f"without {name}"] == 1)
    ]
    for evidence, figures in related.items():
        without = figures["items without one"]
        if figures["pairs"] and without > _MOST * n_items:
            doubts.append(f"{without / n_items:.0%} of the items are in no {evidence} pair")
    return doubts
