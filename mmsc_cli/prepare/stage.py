"""The stage: read the source a recipe names, split it, write the two tables."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.files.web.download import download, file_name
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare.assemble import Assembled, assemble
from mmsc_cli.prepare.counts import BALANCES, balance
from mmsc_cli.prepare.image_placement import ImagePlaces
from mmsc_cli.prepare.inputs import LocalFiles, PrepareRecipe, local_files, naming, prepare_config
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import (
    AmazonSource,
    DemoSource,
    EventsSource,
    Source,
    TableSource,
)
from mmsc_cli.prepare.sources.amazon import read_amazon
from mmsc_cli.prepare.sources.demo.generate import generate_demo
from mmsc_cli.prepare.sources.log.event_pairs import read_events
from mmsc_cli.prepare.sources.log.kept_events import KeptEvents
from mmsc_cli.prepare.sources.log.losses import LastLog, losses
from mmsc_cli.prepare.sources.shop_tables import read_tables
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.redaction import recorded_address
from mmsc_cli.tables.image_hashes import write_image_hashes
from mmsc_cli.workspace.workspace import StageRun, Workspace

FEW_PAIRS = 50
KEPT_EVENTS = "kept_events"
_LOG = logging.getLogger(__name__)


def prepare(
    workspace: Workspace,
    recipe: PrepareRecipe,
    *,
    inputs: Sequence[Path] = (),
    recipe_directory: Path = Path(),
    config: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    checking: bool = False,
    copies: Copies | None = None,
) -> dict[str, Any]:
    """Run the stage and return its counts.

    Args:
        workspace: where the tables go; made if it is not there.
        recipe: what to read and how to split it.
        inputs: local files in place of what the recipe names (amazon: metadata files; table: items, then pairs;
            events: items if the recipe names a table of them, then the log).
        recipe_directory: what the paths of a `table` or `events` source are relative to.
        config: what `prepare_config` says of the same arguments; None: it is asked, and reads the inputs once more.
        progress: told how far the reading is.
        checking: only look at the data: place no images, and log no warnings (they are among the counts).
        copies: of what lies elsewhere; None: made in the workspace.

    Raises:
        InputError: the source is not what it must be.
        UnreachableError: the download failed, or a bucket or database does not answer.
    """
    if copies is None:
        workspace.enter("prepare")
        copies = Copies.of(workspace, progress)
    files = local_files(recipe, inputs, recipe_directory, copies)
    if config is None:
        config = prepare_config(recipe, files)
    with naming(copies), workspace.stage("prepare", config) as stage:
        last = workspace.manifest().stages.get("prepare")
        if inputs and files.items:
            others = ", ".join(map(str, files.others))
            kind = "log" if recipe.source.kind == "events" else "pairs"
            _LOG.info("%s", copies.named(f"items: {files.items[0]}; {kind}: {others}"))
        images = None if checking else _image_places(workspace, recipe, files.items, recipe_directory, stage, progress)
        delivery = Delivery(stage.directory("delivery"))
        digests = dict(zip(files, config.get("inputs", {}).values(), strict=False))
        kept = KeptEvents(workspace.work_folder(KEPT_EVENTS), digests, delivery.folder)
        _read(workspace, recipe, files, stage, delivery, progress, kept)
        assembled = assemble(
            delivery,
            stage.path("items.parquet"),
            stage.path("pairs.parquet"),
            stage.path("outside.parquet"),
            recipe.split,
            recipe.seed,
            place_images=images.place if images else None,
            keep=getattr(recipe.source, "keep", ()),
        )
        if stage.path("images").exists():
            write_image_hashes(stage.path("items.parquet"), stage.staging, stage.path("image_hashes.npy"))
        if assembled.truth is not None:
            with atomic_write(stage.path("truth.parquet")) as file:
                pq.write_table(assembled.truth, file, compression="zstd")
        stage.counts |= _books(delivery, assembled, images.counts if images else Counter())
        warnings = [*delivery.warnings, *_doubts(recipe.source, stage.counts), *delivery.forgotten]
        stage.counts["warnings"] = list(map(copies.named, warnings))
        if last is not None and isinstance(recipe.source, EventsSource):
            stage.counts["warnings"] += losses(LastLog(last.config, last.counts), config, stage.counts, kept.gone)
        for warning in stage.counts["warnings"] if not checking else ():
            _LOG.warning("%s", warning)
    return stage.counts


def _doubts(source: Source, counts: Mapping[str, Any]) -> list[str]:
    """What a person should look at before training."""
    doubts = []
    for relation, name in (("substitutes", "co_view"), ("complements", "co_purchase")):
        pairs = counts[f"{name}_pairs"]
        if not pairs:
            doubts.append(f"no {name} pairs: {relation} cannot be learned")
        elif pairs < FEW_PAIRS:
            only = counted(pairs, f"{name} pair")
            doubts.append(f"only {only}: {relation} cannot be learned well from fewer than {FEW_PAIRS}")
    if counts.get("ids_with_controls"):
        doubts.append(
            f"{counts['ids_with_controls']:,} ids hold tabs, line ends or marks of direction, which no line of a table "
            "can: each is a blank now, in answers too"
        )
    has_table = isinstance(source, TableSource) or (isinstance(source, EventsSource) and source.has_items)
    if has_table and counts["without_title"] * 2 > counts["items"]:
        doubts.append(
            f"{counts['without_title']:,} of {counts['items']:,} items have no title: map the column, for example "
            'title = "name" under [source.columns]'
        )
    return doubts


def _books(delivery: Delivery, assembled: Assembled, images: Counter[str]) -> dict[str, Any]:
    """All counts, checked to add up; what the source and the assembling dropped for the same reason is one figure."""
    counts = Counter(delivery.counts)
    counts.update({name: value for name, value in assembled.counts.items() if isinstance(value, int)})
    counts.update(images)
    others = (name for name in BALANCES["records"] if name != "repeated")
    counts["repeated"] = counts["records"] - sum(counts[name] for name in others)
    return dict(delivery.notes) | balance(dict(assembled.counts) | counts)


def _read(
    workspace: Workspace,
    recipe: PrepareRecipe,
    files: LocalFiles,
    stage: StageRun,
    delivery: Delivery,
    progress: Progress,
    kept: KeptEvents,
) -> None:
    """Have the source deliver."""
    paths = files.others
    match recipe.source:
        case AmazonSource() as source:
            if not paths:
                path, delivery.notes["download"] = _download(workspace, source, progress)
                paths = [path]
            read_amazon(paths, delivery, allow_truncated=source.allow_truncated, progress=progress)
        case TableSource() as source:
            read_tables(files.items, paths, source, delivery)
        case EventsSource() as source:
            read_events(paths, files.items, source, delivery, progress, base=files.base, kept=kept)
        case DemoSource() as source:
            if paths:
                raise InputError("the demo source is generated: it takes no input files", hint="leave --input out")
            images = stage.directory("images") if source.images else None
            generate_demo(source, recipe.seed, images, progress).deliver(delivery)


def _image_places(
    workspace: Workspace,
    recipe: PrepareRecipe,
    item_files: Sequence[Path],
    recipe_directory: Path,
    stage: StageRun,
    progress: Progress,
) -> ImagePlaces | None:
    """How items get their images; None where the source has put them in place itself, or can name none."""
    images, source = recipe.images, recipe.source
    names_files = isinstance(source, TableSource) or (isinstance(source, EventsSource) and source.has_items)
    if images.download and not names_files and not isinstance(source, AmazonSource):
        raise InputError(f"this source (kind {source.kind}) names no addresses of images", hint="leave --images out")
    if not (names_files or images.download or images.folder):
        return None
    return ImagePlaces(
        item_files[0].parent if names_files else None,
        None if images.folder is None else recipe_directory / images.folder,
        stage.directory("images"),
        workspace.work_folder("downloads") / "images",
        images,
        progress,
    )


def _download(workspace: Workspace, source: AmazonSource, progress: Progress) -> tuple[Path, dict[str, Any]]:
    """The downloaded file, and what the manifest says of it."""
    if source.url is None:
        raise InputError("the recipe names no source.url", hint="give the metadata file with --input FILE")
    # Files of different addresses often share a name.
    origin = blake2b(source.url.encode(), digest_size=4).hexdigest()
    target = workspace.work_folder("downloads") / origin / file_name(source.url)
    sha256 = download(source.url, target, source.sha256, progress, size=source.size)
    return target, {"url": recorded_address(source.url), "bytes": target.stat().st_size, "sha256": sha256}
