from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from mmsc_cli.prepare.sources.demo.generate import DemoCatalogue
from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTE_INDEX, COMPATIBILITY, PRODUCT_TYPES
from mmsc_cli.prepare.sources.demo.stock import Stock, stock_up
from mmsc_cli.prepare.sources.demo.true_pairs import TruePairs, true_relations, truth_table
from mmsc_cli.tables.truth import TRUTH_SCHEMA


def relation_by_the_book(stock: Stock, a: int, b: int) -> str | None:
    """Judge one pair by the written shop, item by item."""
    if abs(int(stock.tier[a]) - int(stock.tier[b])) > 1:
        return None
    one, other = (PRODUCT_TYPES[stock.product_type[row]] for row in (a, b))

    def agree(attribute: str) -> bool:
        column = ATTRIBUTE_INDEX[attribute]
        return bool(stock.values[a, column] == stock.values[b, column] >= 0)

    if one is other:
        return "substitute" if all(agree(name) for name in one.substitute_on) else None
    for edge in COMPATIBILITY:
        if {edge.main, edge.accessory} == {one.name, other.name} and agree(edge.on):
            return "both" if edge.mutual else "a_to_b" if edge.main == one.name else "b_to_a"
    return None


def test_truth_is_what_the_written_rules_say_for_every_pair() -> None:
    stock = stock_up(300, 5)
    rows = truth_table(true_relations(stock)).to_pylist()
    found = {(row["a"], row["b"]): "substitute" if row["substitute"] else row["direction"] for row in rows}
    expected = {
        (a, b): relation
        for a in range(300)
        for b in range(a + 1, 300)
        if (relation := relation_by_the_book(stock, a, b))
    }
    assert found == expected
    assert len(found) == len(rows)
    assert set(found.values()) == {"substitute", "a_to_b", "b_to_a", "both"}


def test_colour_variants_are_substitutes(stock: Stock, truth: TruePairs) -> None:
    _, variants = np.unique(stock.model, return_counts=True)
    listed = np.count_nonzero(stock.model[truth.first] == stock.model[truth.second])
    assert listed == (variants * (variants - 1) // 2).sum()


def test_table_has_its_schema_and_order(catalogue: DemoCatalogue) -> None:
    table = catalogue.truth
    assert table is not None
    assert table.schema == TRUTH_SCHEMA
    a, b = table["a"].to_numpy(), table["b"].to_numpy()
    assert (a < b).all()
    assert (np.diff(a * len(catalogue.items) + b.astype(np.int64)) > 0).all()
    assert pc.all(pc.xor(table["substitute"], table["complement"])).as_py()
    assert pc.all(pc.equal(table["complement"], pc.is_valid(table["direction"]))).as_py()


def test_true_partners_stay_few_as_the_catalogue_grows() -> None:
    for items in (2_000, 20_000):
        truth = true_relations(stock_up(items, 1))
        assert 10 < 2 * len(truth.first) / items < 30
        assert 10 < 2 * len(truth.main) / items < 40
