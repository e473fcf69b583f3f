from __future__ import annotations

from pathlib import Path

from benchmarks.nights import DAYS, Shop


def test_a_night_adds_a_day_and_products_and_changes_nothing_else(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", 100, 2, seed=1)

    def files() -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted((tmp_path / "shop").rglob("*")) if path.is_file()}

    before = files()
    shop.next_night(1)
    after = files()

    assert len([name for name in before if name.endswith(".csv")]) == DAYS + 1
    (new,) = after.keys() - before.keys()
    assert new == "2026-09-30.csv"
    assert after["products_export.csv"].startswith(before["products_export.csv"])
    assert after["products_export.csv"] != before["products_export.csv"]
    assert all(after[name] == before[name] for name in before if name != "products_export.csv")
