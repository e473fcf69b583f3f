from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines import factors as als
from mmsc_cli.evaluate.baselines.baseline import ScoreRows
from mmsc_cli.evaluate.baselines.named import applicable
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.runtime.installation import extra_command


def test_without_its_package_it_is_left_out_of_all_and_refused_by_name(
    planted: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(als, "find_spec", lambda name: None)
    names, skipped = applicable("all", planted.for_fitting("train"))
    assert "als" not in names
    assert "`implicit`" in skipped["als"]
    with pytest.raises(InputError, match="not installed") as error:
        applicable("als", planted.for_fitting("train"))
    assert error.value.hint == extra_command("baselines")


def test_confidence_is_how_hard_known_pairs_pull(planted: EvaluationContext, fit: Callable[..., ScoreRows]) -> None:
    adjacency = planted.pairs.of("train").adjacency("substitute", planted.n_items)
    known = np.flatnonzero(adjacency[[5]].toarray()[0])
    weak, strong = (
        fit(
            "als",
            planted,
            "substitute",
            {"factors": 32, "regularisation": 0.1, "confidence": confidence, "strengths": True},
        )(np.asarray([5]))
        for confidence in (0.1, 5.0)
    )
    assert strong[0, known].mean() > weak[0, known].mean()
