"""docs/baselines.md says what there is: every baseline, and every value of its grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsc_cli.evaluate.baselines.named import BASELINES

PAGE = Path(__file__).parents[3] / "docs" / "baselines.md"


@pytest.mark.parametrize("name", BASELINES)
def test_every_grid_is_documented(name: str) -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    # Name, idea, grid, cold items; the tables of figures are wider.
    grids = [cells[3] for cells in rows if len(cells) == 6 and cells[1] == f" `{name}` "]
    assert len(grids) == 1
    grid = grids[0]
    if not BASELINES[name].grid:
        assert grid.strip() == "nothing to tune"
    for setting in BASELINES[name].grid:
        for key, value in setting.items():
            assert key in grid
            assert str(value) in grid
