"""What a training reads from the workspace, and what of it may be looked at when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.model.features import Attributes, ItemFeatures
from mmsc_cli.model.parts import Part
from mmsc_cli.tables.combined_labels import with_people
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import first_variants, item_splits, read_items
from mmsc_cli.tables.judgements import FILE, Votes, read_judgements, votes_of
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.proposals import ProposedTypes, read_proposals
from mmsc_cli.train.known import Visible
from mmsc_cli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Plan:
    """How to train: the seed of every random choice, the parts to leave out, and the label table, None without one.

    `serve`: whether to make the index that is fitted on everything too.
    """

    seed: int
    without: Sequence[Part] = ()
    labels: Path | None = None
    serve: bool = True


@dataclass(frozen=True)
class Inputs:
    """The tables of a workspace; test pairs are among `pairs`, and only `everything` looks at them.

    `orders`: a session with purchases is an order; `votes`: what people judged, which is part of `labels`; `encoder`:
    the card of what made the embeddings, empty without one.
    """

    items: pa.Table
    item_splits: NDArray[np.str_]
    first_variants: NDArray[np.int64]
    pairs: Pairs
    outside: Outside | None
    attributes: Attributes
    features: ItemFeatures
    labels: Labels | None
    orders: bool
    votes: Votes
    proposed: ProposedTypes | None = None
    encoder: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def priced_like(self, earlier: Attributes) -> Inputs:
        """The same with prices on the scale of an earlier training."""
        attributes = replace(self.attributes, price_mean=earlier.price_mean, price_scale=earlier.price_scale)
        features = replace(self.features, price=attributes.prices(self.items))
        return replace(self, attributes=attributes, features=features)

    def training(self) -> Visible:
        """What everything is chosen on."""
        return Visible.training(self.pairs, self.outside, self.item_splits)

    def judging(self) -> Visible:
        """What the judged index is made from: training and validation pairs between warm items, and no test pair."""
        return Visible.of(self.pairs.of("train", "valid"), self.outside, self.item_splits != "warm")

    def everything(self) -> Visible:
        """What the served index is made from."""
        return Visible.of(self.pairs, self.outside, np.zeros(len(self), np.bool_))


def read_inputs(workspace: Workspace, plan: Plan) -> Inputs:
    """Read items, pairs, outside partners, embeddings and labels, without the parts that are left out."""
    items = read_items(workspace.path("items.parquet"))
    stages = workspace.manifest().stages
    embeddings = Embeddings.open(workspace.path("embeddings"), len(items))
    attributes = Attributes.fit(items)
    features = attributes.features(items, embeddings.sides, np.asarray(embeddings.mask), plan.without)
    if not all(bool(side.isfinite().all()) for side in (*features.sides, features.price)):
        raise WorkspaceError("items.parquet or embeddings/ hold what is no number", hint="run `mmsc encode` again")
    outside, proposals = workspace.path("outside.parquet"), workspace.path("proposals.parquet")
    asked = "llm" not in plan.without
    item_ids = items["item_id"].to_pylist()
    judgements = read_judgements(workspace.root / FILE)
    votes = votes_of(judgements if asked else judgements.slice(0, 0), item_ids)
    return Inputs(
        items=items,
        item_splits=item_splits(items),
        first_variants=first_variants(items),
        pairs=Pairs.read(workspace.path("pairs.parquet"), len(items)),
        outside=Outside.read(outside) if outside.exists() and "outside" not in plan.without else None,
        attributes=attributes,
        features=features,
        labels=_read_labels(plan, votes, len(items)) if asked else None,
        votes=votes,
        proposed=ProposedTypes(read_proposals(proposals), items) if asked and proposals.exists() else None,
        encoder=_encoder_card(workspace.path("embeddings") / "encoder.json"),
        orders="prepare" in stages and bool(stages["prepare"].counts.get("all_purchases")),
    )


def _encoder_card(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def _read_labels(plan: Plan, votes: Votes, n_items: int) -> Labels | None:
    """The label table, if any, and what people judged."""
    labels = None if plan.labels is None else Labels.read(plan.labels, n_items)
    return with_people(labels, votes, n_items)
