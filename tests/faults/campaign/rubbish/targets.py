"""All targets."""

from __future__ import annotations

from pathlib import Path

from tests.faults.campaign.rubbish.answers import ANSWERS
from tests.faults.campaign.rubbish.events import EVENTS
from tests.faults.campaign.rubbish.images import ADDRESSES, IMAGES
from tests.faults.campaign.rubbish.metadata import AMAZON
from tests.faults.campaign.rubbish.questions import question_targets
from tests.faults.campaign.rubbish.recipes import OVERRIDES, RECIPES
from tests.faults.campaign.rubbish.tables import GOLD, ITEM_TABLES, PAIRS
from tests.faults.campaign.rubbish.target import Target

BARE = (AMAZON, *ITEM_TABLES, PAIRS, GOLD, *EVENTS, RECIPES, OVERRIDES, ANSWERS, IMAGES, ADDRESSES)


def all_targets(workspace: Path) -> dict[str, Target]:
    """Every target by name; those of `infer` are put to a trained workspace."""
    return {target.name: target for target in (*BARE, *question_targets(workspace))}
