"""A recipe: a source and the settings of each stage.

Every field but the source has a default; unknown fields are errors. The settings stand beside what they set, in the
`settings.py` of each folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.infer.shop.settings import RulesSettings
from mmsc_cli.label.settings import CaptionSettings, LabelSettings
from mmsc_cli.prepare.settings import ImageSettings, Source, SplitSettings
from mmsc_cli.runtime.redaction import recorded_address
from mmsc_cli.runtime.settings import Count, Settings, outcome
from mmsc_cli.train.settings import TrainSettings


class Recipe(Settings):
    """A whole recipe."""

    name: str = Field(description="of the data set, shown in the report")
    description: str = Field(default="", description="one line for `mmsc recipes list`")
    licence: str = Field(default="", description="a note on the licence of the data")
    seed: Count = Field(default=1, description="of all random choices")
    source: Source
    images: ImageSettings = ImageSettings()
    split: SplitSettings = SplitSettings()
    caption: CaptionSettings = CaptionSettings()
    encode: EncodeSettings = EncodeSettings()
    label: LabelSettings = LabelSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    rules: RulesSettings = RulesSettings()

    def as_config(self) -> dict[str, Any]:
        """Return the recipe as JSON values, to be recorded; a hash replaces the query of a URL."""
        config = self.model_dump(mode="json")
        if config["source"].get("url"):
            config["source"]["url"] = recorded_address(config["source"]["url"])
        if config["source"].get("sql", "") is None:  # so are sources recorded by versions that read no databases
            del config["source"]["sql"]
        return config

    def outcome(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """Return what decides the outcome of a stage in the configuration that the manifest records of it.

        Of `prepare`, which records the whole recipe for later stages, only a part counts. Nowhere do the settings
        count that change how the work is done but not what comes out.
        """
        whole = recorded.get("recipe")
        if not isinstance(whole, Mapping):
            return outcome(recorded, self)
        read = ("seed", "source", "images", "split")
        return {**recorded, "recipe": outcome({name: whole.get(name) for name in read}, self)}
