from __future__ import annotations

from dataclasses import replace

import torch

from mmsc_cli.model.behaviour import Surroundings
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.mmsc import Mmsc, Shape
from mmsc_cli.model.parts import Part


def rows(features: ItemFeatures, *numbers: int) -> ItemFeatures:
    """Some items alone; the fixture's category bags have one node each."""
    chosen = torch.tensor(numbers)
    names = ("text", "image", "joint", "present", "category", "brand", "price")
    parts = {name: getattr(features, name)[chosen] for name in names}
    return ItemFeatures(**parts, category_start=torch.arange(len(numbers)))


@torch.no_grad()
def test_an_absent_modality_changes_nothing(model: Mmsc, features: ItemFeatures, around: Surroundings) -> None:
    present = features.present.clone()
    present[3, 1] = False
    image = features.image.clone()
    image[3] = 99.0
    first = model(replace(features, present=present), around)
    second = model(replace(features, present=present, image=image), around)
    full = model(features, around)
    torch.testing.assert_close(first["substitute"][0], second["substitute"][0])
    assert not torch.allclose(first["substitute"][0][3], full["substitute"][0][3])


@torch.no_grad()
def test_text_and_image_as_one_input_count_where_an_item_has_both(features: ItemFeatures) -> None:
    torch.manual_seed(1)
    model = Mmsc(Shape(len(features), text_dim=6, image_dim=4, categories=3, brands=2, dim=8, joint_dim=5)).eval()
    joint, present = torch.randn(len(features), 5), features.present.clone()
    present[3, 1] = False
    first = model.semantic(replace(features, joint=joint, present=present))
    changed = joint.clone()
    changed[:4] = torch.randn(4, 5)
    second = model.semantic(replace(features, joint=changed, present=present))
    same = [torch.allclose(before, after) for before, after in zip(first, second, strict=True)]
    assert same == [row >= 3 for row in range(len(features))]


@torch.no_grad()
def test_an_item_with_nothing_but_an_id_has_no_semantic_vector(model: Mmsc, features: ItemFeatures) -> None:
    nothing = rows(features, 0)
    nothing = replace(
        nothing,
        present=torch.zeros(1, 2, dtype=torch.bool),
        category=torch.zeros(1, dtype=torch.long),
        brand=torch.zeros(1, dtype=torch.long),
        price=torch.zeros(1, 2),
    )
    assert not model.semantic(nothing).any()


@torch.no_grad()
def test_the_item_vector_is_used_unless_left_out(features: ItemFeatures, around: Surroundings) -> None:
    shape = Shape(len(features), text_dim=6, image_dim=4, categories=3, brands=2, dim=8)
    cases: list[tuple[list[Part], bool]] = [([], True), (["id"], False)]
    for without, changes in cases:
        torch.manual_seed(1)
        model = Mmsc(shape, without).eval()
        before = model(features, around)
        model.behaviour.item.weight += 1
        after = model(features, around)
        assert torch.allclose(before["complement"][1], after["complement"][1]) is not changes


@torch.no_grad()
def test_query_and_key_differ_and_so_do_the_relations(
    model: Mmsc, features: ItemFeatures, around: Surroundings
) -> None:
    vectors = model(features, around)
    query, key = vectors["complement"]
    assert not torch.allclose(query, key)
    assert not torch.allclose(vectors["substitute"][1], key)
