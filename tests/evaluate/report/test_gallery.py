from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.report.gallery import ShownItems, build_gallery
from mmsc_cli.tables.relations import Relation


def _reason(relation: Relation, query: int, answer: int) -> str:
    return f"{relation} {query} {answer}"


def _shown_items(items: int, images: list[str | None] | None = None, root: Path = Path()) -> ShownItems:
    names = [str(item) for item in range(items)]
    titles = [f"item {name}" for name in names]
    return ShownItems(names, titles, [1.5] * items, images or [None] * items, root)


def test_answers_are_masked_and_marked_as_in_the_protocol(
    hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]
) -> None:
    order = np.asarray([1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -2, -2, -2], np.float32)
    gallery = build_gallery(hand_context, fixed_scorer(np.tile(order, (13, 1))), _shown_items(13), _reason, 6)
    exhibits = {exhibit.query.item_id: exhibit for exhibit in gallery}
    assert set(exhibits) == {"0", "5", "6", "7", "11"}
    assert exhibits["11"].cold
    substitutes, complements = exhibits["0"].relations
    assert [(card.item_id, card.right) for card in substitutes.answers[:3]] == [
        ("7", False),
        ("6", True),
        ("5", True),
    ]
    assert not {"0", "1", "2", "3", "4", "8"} & {card.item_id for card in substitutes.answers}
    assert (substitutes.true_count, substitutes.missed) == (2, [])
    assert substitutes.answers[1].reason == "substitute 0 6"
    assert [(card.item_id, card.right) for card in complements.answers[:3]] == [
        ("7", True),
        ("6", True),
        ("5", False),
    ]


def test_equal_scores_put_the_wrong_answer_first(
    hand_context: EvaluationContext, fixed_scorer: Callable[..., Any]
) -> None:
    gallery = build_gallery(hand_context, fixed_scorer(np.zeros((13, 13), np.float32)), _shown_items(13), _reason, 6)
    query = next(exhibit for exhibit in gallery if exhibit.query.item_id == "5")
    assert not any(card.right for card in query.relations[0].answers)
    assert [card.item_id for card in query.relations[0].missed] == ["0"], "what was held out and is not shown is named"


def test_the_draw_is_by_seed_and_holds_cold_queries(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    scorer = fixed_scorer(np.zeros((120, 120), np.float32))
    drawn = [
        [entry.query.item_id for entry in build_gallery(random_context(), scorer, _shown_items(120), _reason, 6)]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 6
    assert sum(int(item) % 10 == 9 for item in drawn[0]) == 1


def test_images_are_inlined_small_and_a_broken_one_is_left_out(
    hand_context: EvaluationContext, fixed_scorer: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGBA", (800, 600), "red").save(tmp_path / "images" / "big.png")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "private.png")
    (tmp_path / "images" / "broken.jpg").write_bytes(b"not an image")
    images: list[str | None] = ["images/broken.jpg"] * 13
    images[0] = "images/big.png"
    images[5] = "images/missing.jpg"
    images[7] = "images/../private.png"
    shown_items = _shown_items(13, images, tmp_path)
    gallery = build_gallery(hand_context, fixed_scorer(np.zeros((13, 13), np.float32)), shown_items, _reason, 6)
    shown = {exhibit.query.item_id: exhibit.query.image for exhibit in gallery}
    assert (shown["0"] or "").startswith("data:image/jpeg;base64,")
    assert len(shown["0"] or "") < 5_000
    assert shown["5"] is None
    assert shown["6"] is None
    assert shown["7"] is None, "it lies outside of the workspace's images"
