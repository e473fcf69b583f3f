"""All targets."""

from __future__ import annotations

from pathlib import Path

from benchmarks.faults.rubbish.answers import ANSWERS
from benchmarks.faults.rubbish.events import EVENTS
from benchmarks.faults.rubbish.images import ADDRESSES, IMAGES
from benchmarks.faults.rubbish.metadata import AMAZON
from benchmarks.faults.rubbish.questions import question_targets
from benchmarks.faults.rubbish.recipes import OVERRIDES, RECIPES
from benchmarks.faults.rubbish.shops import SHOPS, request_target
from benchmarks.faults.rubbish.tables import GOLD, ITEM_TABLES, PAIRS
from benchmarks.faults.rubbish.target import Target
from benchmarks.faults.rubbish.workspaces import WORKSPACES

BARE = (AMAZON, *ITEM_TABLES, PAIRS, GOLD, *EVENTS, RECIPES, OVERRIDES, ANSWERS, IMAGES, ADDRESSES, *WORKSPACES, *SHOPS)


def all_targets(workspace: Path) -> dict[str, Target]:
    """Every target by name; those of `infer` are put to a trained workspace."""
    return {target.name: target for target in (*BARE, *question_targets(workspace), request_target(workspace))}
