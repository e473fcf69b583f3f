from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.metrics.bootstrap import calibration_error, calibration_interval, paired_gain


def test_a_gain_is_paired_by_query() -> None:
    generator = np.random.default_rng(1)
    rival = generator.random(400)
    gain = paired_gain(rival + 0.01, rival, np.random.default_rng(2))
    assert gain["difference"] == pytest.approx(0.01)
    assert gain["difference_ci"] == pytest.approx([0.01, 0.01]), "the same queries are drawn for both"
    assert gain["relative"] == pytest.approx(0.01 / rival.mean())
    low, high = gain["relative_ci"]
    assert low < gain["relative"] < high


def test_nothing_is_a_multiple_of_zero() -> None:
    gain = paired_gain(np.ones(5), np.zeros(5), np.random.default_rng(1))
    assert (gain["difference"], gain["relative"], gain["relative_ci"]) == (1, None, None)


def test_calibration_error_is_the_gap_of_each_bin_weighed_by_its_share() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 1])
    assert calibration_error(probabilities, labels) == pytest.approx(0.5 * abs(0.9 - 0.5) + 0.5 * abs(0.7 - 1))


def test_the_interval_of_a_calibration_error_narrows_with_examples() -> None:
    generator = np.random.default_rng(3)
    widths = []
    for count in (100, 2_000):
        first = generator.uniform(0.5, 1, count)
        probabilities, labels = (
            np.stack([first, 1 - first], axis=1),
            (generator.random(count) > 0.8 * first).astype(int),
        )
        low, high = calibration_interval(probabilities, labels, np.random.default_rng(4), resamples=200)
        assert low <= calibration_error(probabilities, labels) <= high
        widths.append(high - low)
    assert widths[1] < 0.4 * widths[0]
