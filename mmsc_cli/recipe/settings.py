"""What a recipe may say. Every field has a default but the source; unknown fields are errors."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mmsc_cli.runtime.redaction import has_password, recorded_address

Part = Literal["llm", "denoise", "aggregation", "image", "text", "id"]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


def _path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path holds no NUL byte")
    return text


def _address(url: str) -> str:
    if has_password(url):
        raise ValueError("an address with a password in it would be written down; download the file and give --input")
    return url


PathText = Annotated[str, AfterValidator(_path)]
Address = Annotated[str, AfterValidator(_address)]
ItemColumn = Literal["item_id", "title", "description", "brand", "category", "price", "image_url", "image_path"]
PairColumn = Literal["a", "b", "co_view", "co_purchase"]
Column = Literal[ItemColumn, PairColumn]
EventColumn = Literal["session", "item", "type", "time"]
EventType = Literal["view", "purchase"]


class Settings(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AmazonSource(Settings):
    """Amazon product metadata, 2014 or 2018 schema (told apart by content)."""

    kind: Literal["amazon"]
    url: Address | None = Field(default=None, description="https address of the gzip file")
    size: Positive | None = Field(default=None, description="bytes of that file, where known")
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    allow_truncated: bool = Field(default=False, description="keep the whole records of a file that is cut short")


class TableSource(Settings):
    """Your own catalogue: a file of items and a file of pairs; paths are relative to the recipe."""

    kind: Literal["table"]
    items: PathText
    pairs: PathText
    columns: dict[Column, str] = Field(default_factory=dict, description="our column name = yours")


class EventsSource(Settings):
    """A log of what shoppers viewed and bought; paths are relative to the recipe."""

    kind: Literal["events"]
    events: PathText = Field(
        description="CSV (also .gz) or Parquet, one event a row; a pattern such as log-*.csv is fine"
    )
    items: PathText | None = Field(
        default=None, description="a table of items, as for kind = table; else ids are all we know"
    )
    columns: dict[Literal[ItemColumn, EventColumn], str] = Field(default_factory=dict, description="our name = yours")
    types: dict[EventType, list[str]] = Field(
        default={"view": ["view"], "purchase": ["purchase"]}, description="what your log calls them"
    )
    score: Literal["npmi", "llr"] = "npmi"
    min_support: Positive = Field(default=3, description="sessions in which a pair must occur")
    session_items: Annotated[int, Field(ge=2)] = Field(
        default=50, description="items of a session that count per type, the earliest first"
    )
    window_minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="the longest time between two events of a pair; None: the session"
    )
    since: datetime | date | None = Field(default=None, description="events before this are left out")
    until: datetime | date | None = Field(default=None, description="events from this on are left out")
    memory_gib: Annotated[float, Field(ge=0.25)] = Field(default=2.0, description="beyond it, work goes to the disk")


class DemoSource(Settings):
    """A synthetic catalogue with simulated shoppers, whose true relations are known."""

    kind: Literal["demo"]
    items: Annotated[int, Field(ge=200)] = 2_000
    sessions_per_item: Annotated[float, Field(gt=0)] = 40
    noise: Share = 0.25
    images: bool = True


Source = Annotated[AmazonSource | TableSource | EventsSource | DemoSource, Field(discriminator="kind")]


class ImageSettings(Settings):
    """Images beside those that a table of items names by path: from a folder, or by address."""

    folder: PathText | None = Field(
        default=None, description="of images named by item id (B00X.jpg), relative to the recipe"
    )
    download: bool = Field(default=False, description="fetch them (else only image files of your own are used)")
    concurrency: Positive = Field(default=16, description="images on their way at once")
    per_host: Positive = Field(default=4, description="of these from one host")
    retries: Annotated[int, Field(ge=0)] = Field(default=3, description="further tries of what may pass")
    backoff: Annotated[float, Field(ge=0)] = Field(default=0.5, description="seconds before a retry, doubling")
    timeout: Annotated[float, Field(gt=0)] = Field(default=20.0, description="seconds without a byte")
    max_bytes: Positive = 10_000_000
    max_pixels: Positive = 64_000_000
    allow_http: bool = Field(default=False, description="fetch http addresses as they are, instead of over https")
    allow_private: bool = Field(
        default=False, description="fetch from loopback and private addresses too, and from any port"
    )
    allow_outside: bool = Field(
        default=False, description="take files that an image_path names outside the folder of the item file"
    )


class SplitSettings(Settings):
    """Shares held out: of the pairs between warm items, and of the items."""

    valid: Share = 0.1
    test: Share = 0.1
    cold_valid: Share = 0.05
    cold_test: Share = 0.05

    @model_validator(mode="after")
    def _leaves_training_data(self) -> SplitSettings:
        if self.valid + self.test >= 1 or self.cold_valid + self.cold_test >= 1:
            raise ValueError("the held-out shares must leave something to train on")
        return self


class EncodeSettings(Settings):
    """How items become vectors."""

    encoder: PathText = "auto"
    text_dim: Positive = Field(default=512, description="width of the classic encoder's text vectors")
    image_dim: Positive = Field(default=64, description="width of the classic encoder's image vectors")
    batch_size: Positive | None = Field(default=None, description="None: what the device's memory holds")
    adapt: bool = False
    adapt_with: Literal["auto", "projection", "lora"] = Field(
        default="auto", description="auto: low-rank matrices in the towers on a GPU, a projection over them elsewhere"
    )


class CandidateMix(Settings):
    """Relative shares of the label budget, by why a pair is worth asking about."""

    ambiguous: Annotated[float, Field(ge=0)] = Field(default=0.25, description="seen in both relations")
    weak: Annotated[float, Field(ge=0)] = Field(default=0.15, description="seen in one relation only, weakly")
    far: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="seen together, but texts have little in common"
    )
    similar: Annotated[float, Field(ge=0)] = Field(default=0.15, description="similar text, no behaviour")
    look_alike: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="similar image, no behaviour; once `encode` has run"
    )
    transfer: Annotated[float, Field(ge=0)] = Field(
        default=0.15, description="bought with a similar item, not with this one"
    )
    random: Annotated[float, Field(ge=0)] = Field(default=0.1, description="any two items, for calibration")

    @model_validator(mode="after")
    def _asks_something(self) -> CandidateMix:
        if not sum(self.model_dump().values()) > 0:
            raise ValueError("at least one share must be above 0")
        return self


class ServerSettings(Settings):
    """How vLLM serves the model; None: chosen for this machine, and said why."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    tensor_parallel: Positive | None = Field(default=None, description="GPUs that one copy of the model is split over")
    memory_share: Annotated[float, Field(gt=0, le=1)] | None = Field(default=None, description="of each GPU's memory")
    context: Positive | None = Field(default=None, description="tokens that a question and its answer may have")
    start_timeout: Annotated[float, Field(gt=0)] = Field(
        default=1_800.0, description="seconds until it is up (it may have to download the model)"
    )


class LabelSettings(Settings):
    """How candidate pairs are annotated."""

    model: PathText = "llama"
    budget: Positive = 20_000
    mix: CandidateMix = CandidateMix()
    server: ServerSettings = ServerSettings()
    concurrency: Positive = Field(default=64, description="questions on their way at once")
    max_failures: Positive = Field(default=20, description="questions given up before the command stops")
    retries: Annotated[int, Field(ge=0)] = Field(default=4, description="further tries of a failed question")
    backoff: Annotated[float, Field(ge=0)] = Field(default=0.5, description="seconds before a retry, doubling")
    timeout: Annotated[float, Field(gt=0)] = Field(
        default=600.0, description="seconds one answer may take, waiting in the server's queue included"
    )
    shard_pairs: Positive = Field(
        default=1_000, description="pairs whose answers are saved at a time, and may be lost when killed"
    )


class TrainSettings(Settings):
    """The model and how it is trained."""

    dim: Positive = 128
    epochs: Positive = 15
    patience: Positive = 4
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    batch_queries: Positive | None = Field(default=None, description="None: 40 steps an epoch, at least 256")
    full_softmax_items: Positive = Field(
        default=100_000, description="catalogues smaller than this: every item is a negative; else a sample"
    )
    sampled_negatives: Positive = Field(default=4_096, description="uniform negatives of such a sample, in each step")
    item_dropout: Share = 0.3
    play_cold: Share = 0.15
    neighbours: Positive = 20
    agreement: Annotated[float, Field(ge=0)] = 0.1
    reliability: Annotated[float, Field(ge=0)] = 0.1
    llm: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="how far labels are followed, times how far they agree with behaviour"
    )
    linear_items: Positive = Field(default=20_000, description="up to so many items the linear branch is EASE")
    linear_top: Positive = 256
    rerank_candidates: Annotated[int, Field(ge=2)] = Field(
        default=256, description="answers of an item that the second stage ranks"
    )
    rerank_items: Positive = Field(default=100_000, description="up to so many items there is a second stage")
    rerank_epochs: Positive = 8


class EvaluateSettings(Settings):
    """What the verdict covers."""

    baselines: list[str] | Literal["all", "none"] = ["popularity", "resource-allocation"]
    negatives: Positive = 1_000
    bootstrap: Positive = 1_000


class Recipe(Settings):
    """A whole recipe."""

    name: str
    description: str = ""
    licence: str = ""
    seed: Annotated[int, Field(ge=0)] = 1
    source: Source
    images: ImageSettings = ImageSettings()
    split: SplitSettings = SplitSettings()
    encode: EncodeSettings = EncodeSettings()
    label: LabelSettings = LabelSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    def as_config(self) -> dict[str, Any]:
        """The recipe as plain JSON values, to be recorded: of an address, a hash stands for its query."""
        config = self.model_dump(mode="json")
        if config["source"].get("url"):
            config["source"]["url"] = recorded_address(config["source"]["url"])
        return config
