"""The stage: read the source a recipe names, split it, write the two tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from mmsc_cli.atomic import atomic_write
from mmsc_cli.errors import InputError
from mmsc_cli.items import write_items
from mmsc_cli.pairs import write_pairs
from mmsc_cli.prepare.assemble import assemble
from mmsc_cli.prepare.catalogue import Catalogue
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.recipe.settings import AmazonSource, DemoSource, Recipe, TableSource
from mmsc_cli.workspace import StageRun, Workspace, digest


def prepare(
    workspace: Workspace,
    recipe: Recipe,
    *,
    inputs: Sequence[Path] = (),
    recipe_directory: Path = Path(),
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run the stage and return its counts.

    Args:
        workspace: where the tables go; made if it is not there.
        recipe: what to read and how to split it.
        inputs: local files in place of what the recipe names (amazon: metadata files; table: items, then pairs).
        recipe_directory: what the paths of a `table` source are relative to.
        progress: told how far the reading is.

    Raises:
        InputError: the source is not what it must be.
        UnreachableError: the download failed.
    """
    with workspace.stage("prepare", prepare_config(recipe, inputs, recipe_directory)) as stage:
        catalogue = _read(workspace, recipe, inputs, recipe_directory, stage, progress)
        items, pairs, truth = assemble(catalogue, recipe.split, recipe.seed)
        write_items(stage.path("items.parquet"), items)
        write_pairs(stage.path("pairs.parquet"), pairs)
        if truth is not None:
            with atomic_write(stage.path("truth.parquet")) as file:
                pq.write_table(truth, file, compression="zstd")
        stage.counts |= catalogue.counts
        stage.counts |= {
            "items": len(items),
            "pairs": len(pairs),
            "co_view_pairs": int(pairs.holds("substitute").sum()),
            "co_purchase_pairs": int(pairs.holds("complement").sum()),
            "pairs_in_both": int(pairs.ambiguous().sum()),
            "item_splits": dict(Counter(items["split"].to_pylist())),
            "pair_splits": dict(Counter(pairs.split.tolist())),
        }
        return stage.counts


def prepare_config(recipe: Recipe, inputs: Sequence[Path], recipe_directory: Path = Path()) -> dict[str, Any]:
    """What the manifest records of this stage: the whole recipe, for later stages to read, and the local inputs.

    An input is recorded with the sha256 of its content (null where it is not there), so that new content is noticed.
    """
    files = {str(path.resolve()): path for path in _local_inputs(recipe, inputs, recipe_directory)}
    hashes = {name: digest(path) if path.is_file() else None for name, path in files.items()}
    return {"recipe": recipe.as_config(), "inputs": hashes}


def _local_inputs(recipe: Recipe, inputs: Sequence[Path], recipe_directory: Path) -> list[Path]:
    if not inputs and isinstance(recipe.source, TableSource):
        return [recipe_directory / recipe.source.items, recipe_directory / recipe.source.pairs]
    return list(inputs)


def _read(
    workspace: Workspace,
    recipe: Recipe,
    inputs: Sequence[Path],
    recipe_directory: Path,
    stage: StageRun,
    progress: Progress,
) -> Catalogue:
    match recipe.source:
        case AmazonSource() as source:
            from mmsc_cli.prepare.amazon import read_amazon

            return read_amazon(inputs or [_download(workspace, source, progress)], progress)
        case TableSource() as source:
            from mmsc_cli.prepare.local_images import copy_images
            from mmsc_cli.prepare.table import read_tables

            paths = _local_inputs(recipe, inputs, recipe_directory)
            if len(paths) != 2:
                raise InputError("a table source takes two inputs", hint="--input ITEMS --input PAIRS")
            catalogue = read_tables(paths[0], paths[1], source)
            return copy_images(catalogue, paths[0].parent, stage.directory("images"), progress)
        case DemoSource() as source:
            from mmsc_cli.prepare.demo.generate import generate_demo

            if inputs:
                raise InputError("the demo source is generated: it takes no input files", hint="leave --input out")
            images = stage.directory("images") if source.images else None
            return generate_demo(source, recipe.seed, images, progress)


def _download(workspace: Workspace, source: AmazonSource, progress: Progress) -> Path:
    from mmsc_cli.prepare.download import download

    if source.url is None:
        raise InputError("the recipe names no source.url", hint="give the metadata file with --input FILE")
    # Files of different addresses often share a name.
    origin = blake2b(source.url.encode(), digest_size=4).hexdigest()
    target = workspace.path("downloads") / origin / (PurePosixPath(urlsplit(source.url).path).name or "download")
    download(source.url, target, source.sha256, progress)
    return target
