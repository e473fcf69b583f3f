"""The stages of a workspace: which artefacts each makes and needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["prepare", "caption", "label", "encode", "train", "evaluate"]


@dataclass(frozen=True)
class StageFiles:
    """Artefacts a stage makes, those it needs, and those it uses where they are there."""

    makes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


STAGES: dict[Stage, StageFiles] = {
    "prepare": StageFiles(
        makes=(
            "items.parquet",
            "pairs.parquet",
            "outside.parquet",
            "images",
            "image_hashes.npy",
            "truth.parquet",
            "kept.safetensors",
        )
    ),
    "caption": StageFiles(makes=("captions.parquet",), needs=("items.parquet",), uses=("image_hashes.npy", "images")),
    # The truth is there in synthetic workspaces alone, and read by the oracle annotator alone.
    "label": StageFiles(
        makes=("labels.parquet", "proposals.parquet"),
        needs=("items.parquet", "pairs.parquet"),
        uses=("captions.parquet", "truth.parquet"),
    ),
    "encode": StageFiles(
        makes=("embeddings", "failures.jsonl"),
        needs=("items.parquet", "pairs.parquet"),
        uses=("captions.parquet", "image_hashes.npy", "images"),
    ),
    "train": StageFiles(
        makes=("model", "judged", "index"),
        needs=("items.parquet", "pairs.parquet", "embeddings"),
        uses=("outside.parquet", "labels.parquet", "proposals.parquet"),
    ),
    "evaluate": StageFiles(
        makes=("metrics.json", "report.html", "answers.parquet"),
        needs=("items.parquet", "pairs.parquet", "embeddings", "index", "model"),
        # Where an earlier version trained there is no judged/: it never fitted its index to a held-out pair.
        uses=("judged", "outside.parquet", "image_hashes.npy", "images", "truth.parquet"),
    ),
}
# What `infer --new` reads beside the index.
NEW_ITEMS = StageFiles(makes=(), needs=("items.parquet", "pairs.parquet", "embeddings", "index"))
# How a hint names the command of each stage.
STAGE_COMMANDS: dict[str, str] = {
    **{stage: f"`mmsc {stage}`" for stage in STAGES},
    "prepare": "`mmsc prepare SOURCE`",
    "caption": "`mmsc label --captions`",
}
MAKER: dict[str, Stage] = {artefact: stage for stage, files in STAGES.items() for artefact in files.makes}
