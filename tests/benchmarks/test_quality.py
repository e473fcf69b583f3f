from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import pooled, replace_block

ROOT = Path(__file__).parents[2]


def _cell(ndcg: float | None, half: float = 0.01, queries: int = 100) -> dict[str, Any]:
    interval = None if ndcg is None else [ndcg - half, ndcg + half]
    return {"hit@10": ndcg, "ndcg@10": ndcg, "queries": queries, "ndcg@10_ci": interval}


def test_seeds_that_agree_leave_the_interval_of_the_queries() -> None:
    found = pooled([_cell(0.5, 0.02), _cell(0.5, 0.04)])
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((0.47, 0.53))


def test_seeds_that_differ_widen_the_interval() -> None:
    found = pooled([_cell(0.4), _cell(0.5), _cell(0.6)])
    assert found is not None
    assert found["ndcg@10"] == pytest.approx(0.5)
    assert found["high"] - found["ndcg@10"] == pytest.approx(1.96 * 0.1 / 3**0.5)


def test_a_slice_that_is_empty_from_every_seed_has_no_row() -> None:
    assert pooled([_cell(None, queries=0)] * 2) is None
    found = pooled([_cell(None, queries=0), _cell(0.3)])
    assert found is not None
    assert found["ndcg@10"] == 0.3


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("a\n<!-- quality:demo:start -->\nold\n<!-- quality:demo:end -->\nb\n", encoding="utf-8")
    assert replace_block(document, "demo", "new\n")
    assert document.read_text("utf-8") == "a\n<!-- quality:demo:start -->\nnew\n<!-- quality:demo:end -->\nb\n"
    assert not replace_block(document, "amazon-beauty", "newer\n")
    assert "newer" not in document.read_text("utf-8")


@pytest.mark.parametrize("document", ["README.md", "docs/benchmarks.md"])
def test_the_documents_have_the_markers(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.index("<!-- quality:amazon-beauty:start -->") < text.index("<!-- quality:amazon-beauty:end -->")
