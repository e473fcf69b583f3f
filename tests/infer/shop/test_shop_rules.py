"""Rules of the shop: what becomes of answers, and what is said of rules that cannot be followed."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.index.filters import Filters, sieves
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import IndexRanker, QueryBlock
from mmsc_cli.index.shop_rules import RuleBook, ShopRule
from mmsc_cli.infer.answers import Answers
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.infer.shop.rule_counts import RuleCounts
from mmsc_cli.infer.shop.rule_sources import read_rules
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.workspace.workspace import Workspace
from tests.conftest import Mmsc
from tests.fixtures.made_up_index import composed_index


def _ruled(recommender: Recommender, *rules: ShopRule) -> Recommender:
    recommender.book = RuleBook(recommender.index, rules)
    return recommender


def _items(recommender: Recommender, k: int = 4, query: str = "I00", **filters: Any) -> list[str]:
    return [answer.item for answer in recommender.substitutes(query, k, **filters)]


def test_blocked_items_pairs_and_categories_are_no_answers(hand_made: Recommender) -> None:
    assert _items(hand_made) == ["I01", "I02", "I03", "I04"]

    assert _items(_ruled(hand_made, ShopRule("block", item="I02"))) == ["I01", "I03", "I04", "I05"]
    pair = ShopRule("block", item="I02", query="I00")
    assert _items(_ruled(hand_made, pair)) == ["I01", "I03", "I04", "I05"]
    assert "I02" in _items(_ruled(hand_made, pair), query="I01")
    assert "I00" in _items(_ruled(hand_made, pair), query="I02")  # one direction
    # I00 is one of the pans; all below `Home` are blocked for pans, and for nothing else.
    pans = ShopRule("block", category="Home", query_category="Home > Pans")
    assert _items(_ruled(hand_made, pans)) == ["I05", "I06", "I09", "I10"]
    assert _items(_ruled(hand_made, pans), query="I05") == ["I00", "I01", "I02", "I03"]
    only_complements = ShopRule("block", item="I01", relation="complement")
    assert _items(_ruled(hand_made, only_complements))[0] == "I01"


def test_a_pin_stands_in_its_place_whatever_its_score(hand_made: Recommender) -> None:
    pin = ShopRule("pin", item="I09", query="I00", relation="substitute", place=2)
    answers = _ruled(hand_made, pin).substitutes("I00", 3, min_score=-3)

    assert [answer.item for answer in answers] == ["I01", "I09", "I02"]
    assert [answer.source for answer in answers] == ["model", "pinned", "model"]
    assert answers[1].score == -9
    assert _items(hand_made, in_stock=["I01", "I02"]) == ["I01", "I02"]  # filters hold for pins
    assert "I09" not in _items(_ruled(hand_made, pin), 1)


def test_a_pin_behind_all_answers_is_the_last_one_and_the_query_is_never_pinned(hand_made: Recommender) -> None:
    late = ShopRule("pin", item="I01", query="I00", relation="substitute", place=4)
    assert _items(_ruled(hand_made, late), 4, in_stock=["I01", "I05"]) == ["I05", "I01"]
    assert "I01" not in _items(_ruled(hand_made, late), 3)
    itself = ShopRule("pin", item="I00", query_category="Home", relation="substitute", place=1)
    assert _items(_ruled(hand_made, itself)) == ["I01", "I02", "I03", "I04"]
    assert _items(_ruled(hand_made, itself), query="I03")[0] == "I00"


def test_blocks_win_over_pins_and_a_querys_own_pins_over_its_categorys(hand_made: Recommender) -> None:
    general = ShopRule("pin", item="I07", query_category="Home > Pans", relation="substitute", place=1)
    own = ShopRule("pin", item="I09", query="I00", relation="substitute", place=1)
    assert _items(_ruled(hand_made, general, own)) == ["I09", "I07", "I01", "I02"]
    assert _items(_ruled(hand_made, general, own, ShopRule("block", item="I09")))[0] == "I07"
    with pytest.raises(InputError, match="I07 and I08 are both pinned to place 1"):
        _ruled(
            hand_made,
            general,
            ShopRule("pin", item="I08", query_category="Home > Pans", relation="substitute", place=1),
        )


def test_a_boost_multiplies_odds(hand_made: Recommender) -> None:
    boost = ShopRule("boost", category="Toys", factor=math.e**4)
    answers = _ruled(hand_made, boost).substitutes("I00", 3)

    # Without calibration a score counts as log-odds: I05, of score -5, gets 4 more.
    assert [(answer.item, answer.source) for answer in answers] == [
        ("I01", "model"),
        ("I05", "boosted"),
        ("I02", "model"),
    ]
    assert answers[1].score == pytest.approx(-1)
    twice = _ruled(hand_made, boost, ShopRule("boost", item="I05", factor=math.e**-4)).substitutes("I00", 12)
    assert next(answer.score for answer in twice if answer.item == "I05") == pytest.approx(-5)


def test_a_boost_means_the_odds_of_the_calibration(trained: Workspace) -> None:
    recommender = Recommender.open(trained.root)
    item_id = recommender.index.ids[0]
    best = recommender.complements(item_id, 1)[0]
    before = recommender.probabilities(item_id, best.item)
    boosted = _ruled(recommender, ShopRule("boost", item=best.item, factor=3)).complements(item_id, 1)[0]
    assert boosted.score is not None
    assert best.score is not None
    calibration = recommender.index.about["calibration"]
    logits = np.array(calibration["coefficients"])[:, 1] * (boosted.score - best.score) / calibration["scale"][1]

    assert math.exp(logits[1] - logits[2]) == pytest.approx(3, rel=1e-3)
    assert recommender.probabilities(item_id, best.item) == before  # the shop's wish is no evidence


def test_an_item_pinned_in_one_relation_is_not_in_the_other(hand_made: Recommender) -> None:
    pins = [
        ShopRule("pin", item="I03", query="I00", relation="complement", place=3),
        ShopRule("pin", item="I01", query="I00", relation="complement", place=1),
    ]
    (answers,) = _ruled(hand_made, *pins).answer(["I00"], "both", 3)

    assert isinstance(answers, Answers)
    lists = {relation: [answer.item for answer in answers if answer.relation == relation] for relation in RELATIONS}
    assert lists["complement"][0] == "I01"
    assert lists["complement"][2] == "I03"
    assert len({*lists["substitute"], *lists["complement"]}) == 6


RULES = [
    ShopRule("block", item="B000000007"),
    ShopRule("block", category="c1", query_category="c0"),
    ShopRule("boost", category="c2", factor=3),
    ShopRule("boost", item="B000000390", factor=1e9, query="B000000005"),
    ShopRule("pin", item="B000000399", query_category="c0", relation="complement", place=3),
]


@pytest.mark.parametrize("filters", [Filters(), Filters(min_score=2.0), Filters(variants=True)])
def test_candidates_alone_give_what_the_whole_catalogue_gives_under_rules(filters: Filters) -> None:
    index = composed_index(np.random.default_rng(5))
    book = RuleBook(index, RULES)
    queries = [Query.of_item(index, index.ids[row]) for row in range(0, len(index), 5)]
    ranker = IndexRanker(index, sieves(index, filters, book), 10)
    block = QueryBlock.of_items(index, queries, RELATIONS)
    answered = ranker.rank(block)
    shortcuts = 0
    for number, relation in enumerate(RELATIONS):
        searched = ranker._exact(relation, queries, block.vectors[relation], block.additions[relation])
        for query, ranking, whole in zip(queries, answered, searched, strict=True):
            shortcuts += ranker.rank_at_once(query, relation) is not None
            assert ranking[number].rows.tolist() == whole.placed(10).rows.tolist()
    assert shortcuts


def test_the_command_applies_a_file_and_counts(
    trained: Workspace, item_ids: list[str], mmsc: Mmsc, tmp_path: Path
) -> None:
    query, before = item_ids[0], mmsc("infer", "-w", trained.root, item_ids[0], "--relation", "substitute", "-k", 3)
    first, second, _ = [line.split("\t")[3] for line in before.out.splitlines()[1:]]
    rules = tmp_path / "rules.csv"
    rules.write_text(
        "rule,query,item,relation,place,factor\n"
        f"block,{query},{first},,,\n"
        f"pin,{query},{item_ids[-1]},substitute,1,\n"
        f"boost,,{second},,,2\n"
        "block,,NOWHERE,,,\n"
    )
    ran = mmsc("infer", "-w", trained.root, query, "--relation", "substitute", "-k", 3, "--rules", rules)
    rows = [line.split("\t") for line in ran.out.splitlines()]

    assert rows[0][-1] == "source"
    assert [(row[3], row[-1]) for row in rows[1:3]] == [(item_ids[-1], "pinned"), (second, "boosted")]
    assert f"NOWHERE ({rules}:5)" in ran.err
    assert "rules changed the answers of 1 of 1 item: 1 blocked, 1 pinned, 1 boosted" in ran.err
    assert "source" not in before.out.splitlines()[0].split("\t")


def test_the_rules_of_the_recipe_hold_unless_others_are_given(
    trained_copy: Workspace, item_ids: list[str], mmsc: Mmsc, tmp_path: Path
) -> None:
    recommender = Recommender.open(trained_copy.root)
    first = recommender.substitutes(item_ids[0], 1)[0].item
    path = tmp_path / "shop.toml"
    path.write_text(
        'name = "shop"\n[source]\nkind = "demo"\n[rules]\n'
        f'block = [{{ item = "{first}" }}]\nboost = [{{ category = "Electronics", factor = 2 }}]\n'
    )
    manifest = json.loads((trained_copy.root / "manifest.json").read_bytes())
    config = manifest["stages"]["prepare"]["config"]
    trained_copy.amend("prepare", {**config, "recipe": load_recipe(str(path)).as_config()})

    opened = Recommender.open(trained_copy.root)
    assert opened.substitutes(item_ids[0], 1)[0].item != first
    without = tmp_path / "none.csv"
    without.touch()
    assert Recommender.open(trained_copy.root, rules=without).substitutes(item_ids[0], 1)[0].item == first
    assert Recommender.open(trained_copy.root, rules=()).substitutes(item_ids[0], 1)[0].item == first


def test_counts_follow_what_is_shown(hand_made: Recommender) -> None:
    counts = RuleCounts()
    rules = [ShopRule("block", item="I01"), ShopRule("block", item="I11")]
    list(counts.watch(_ruled(hand_made, *rules).answer(["I00", "NOWHERE", "I02"], "substitute", 3)))

    # I11 is the last of all, so that blocking it changes nothing.
    assert (counts.questions, counts.changed, counts.blocked) == (2, 2, 2)


def test_a_pin_of_an_item_to_itself_is_warned_of(hand_made: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _ruled(hand_made, ShopRule("pin", item="I03", query="I03", relation="substitute", place=1, origin="r.csv:2"))
    assert "an item is no answer to itself, these pins do nothing: I03 (r.csv:2)" in caplog.text


def test_a_column_with_another_name_is_asked_back(tmp_path: Path) -> None:
    (tmp_path / "rules.csv").write_text("action,item\nblock,I01\n")
    with pytest.raises(InputError, match="no column 'action'") as caught:
        read_rules(tmp_path / "rules.csv")
    assert caught.value.hint == "did you mean rule?"


def test_unknown_names_are_warned_of_once_for_all(hand_made: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _ruled(
            hand_made,
            *(ShopRule("block", item=f"X{n}") for n in range(7)),
            ShopRule("block", category="Home > Pan"),
        )
    assert "not in the catalogue, items: X0, X1, X2, X3, X4 and 2 more" in caplog.text
    assert "did you mean Home > Pans?" in caplog.text
    assert not hand_made.book


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("rule,item\nban,I01\n", "rule 'ban' is not one of block, pin, boost"),
        ("rule,item,category\nblock,I01,Toys\n", "either an item or a category"),
        ("rule,item\nboost,I01\n", "a boost needs a factor"),
        ("rule,item,factor\nboost,I01,0\n", "factor 0 is not above 0"),
        ("rule,item,factor\nboost,I01,much\n", "factor 'much' is not a number"),
        ("rule,item,relation,place\npin,I01,substitute,1\n", "a pin needs a query"),
        ("rule,item,query,place\npin,I01,I00,1\n", "a pin needs a relation"),
        ("rule,item,query,relation,place\npin,I01,I00,substitute,0\n", "place 0 is not 1 or more"),
        ("rule,item,relation\nblock,I01,other\n", "relation 'other'"),
        ("rule,article\nblock,I01\n", "no column 'article'"),
        ("item\nI01\n", "no column rule"),
        ("rule,item\nblock,I01,,x\n", "4 fields, 2 columns"),
    ],
)
def test_a_wrong_rule_is_named_with_its_line(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "rules.csv"
    path.write_text(lines)
    with pytest.raises(InputError, match=message) as caught:
        read_rules(path)
    assert str(path) in caught.value.message


def test_all_wrong_lines_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.csv"
    path.write_text("rule;item\n" + "ban;I01\n" * 7)
    with pytest.raises(InputError, match=r"rules.csv:2: .*\n.*rules.csv:3: ") as caught:
        read_rules(path)
    assert "and 2 more lines" in caught.value.message


def test_a_wrong_rule_of_a_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        'name = "shop"\n[source]\nkind = "demo"\n[[rules.pin]]\nitem = "A"\nrelation = "complement"\nplace = 1\n'
    )
    with pytest.raises(InputError, match="a pin needs a query"):
        load_recipe(str(path))


def test_rules_of_categories_need_an_index_that_has_them() -> None:
    index = composed_index(np.random.default_rng(5))
    bare = Index({name: tensor for name, tensor in index.tensors.items() if name != "category"}, {})
    with pytest.raises(Exception, match="the index has none"):
        RuleBook(bare, [ShopRule("block", category="c1")])
