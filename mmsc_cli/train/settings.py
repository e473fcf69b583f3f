"""The model and how it is trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mmsc_cli.runtime.settings import AboveZero, Fraction, NotNegative, Positive, Settings


class TrainSettings(Settings):
    """The model and how it is trained."""

    dim: Positive = Field(default=64, description="width of the item vectors")
    epochs: Positive = Field(default=2, description="maximum number of epochs of the network")
    patience: Positive = Field(default=2, description="epochs without a better validation figure before training stops")
    learning_rate: AboveZero = Field(default=0.01, description="of the network's optimiser")
    batch_queries: Positive | None = Field(
        default=None, description="queries per step; none: 20 steps an epoch, at least 256 queries"
    )
    full_softmax_items: Positive = Field(
        default=100_000, description="catalogues below this size: every item is a negative; else a sample"
    )
    sampled_negatives: Positive = Field(default=4_096, description="uniform negatives in each step, if sampled")
    item_dropout: Fraction = Field(default=0.3, description="fraction of items whose own vector is left out in a step")
    play_cold: Fraction = Field(default=0.15, description="fraction of items trained as if they had no behaviour")
    neighbours: Positive = Field(default=20, description="content neighbours of each item")
    agreement: NotNegative = Field(default=0.1, description="weight of the agreement of the two views of an item")
    llm: NotNegative = Field(
        default=1.0, description="weight of labels, times how often they are right; 0: labels are not used"
    )
    follow_labels: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="0 to 1: how far answers follow the student; none: as people's judgements say, or as far as costs "
        "2 % of the behaviour figures",
    )
    linear_top: Positive = Field(default=256, description="answers per item that the linear branch keeps")
    folds: Positive = Field(
        default=2, description="times that the ranker's examples are made, with other training pairs hidden each time"
    )
    rerank_candidates: Annotated[int, Field(ge=2)] = Field(
        default=128, description="answers per item that the ranker orders"
    )
    rerank_epochs: Positive = Field(default=3, description="epochs of the ranker")
    category_affinity: NotNegative | None = Field(
        default=None,
        description="weight of how often shoppers relate the categories of two complements, beside the ranker; "
        "none: the best on validation pairs",
    )
    distinct: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="0 to 1: how much pairs of this relation alone go before pairs that are in both"
    )
