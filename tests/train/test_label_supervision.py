from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.tables.labels import Labels
from mmsc_cli.train.label_supervision import Supervision, read_supervision
from mmsc_cli.train.loop.data import TrainingPairs

PAIRS = TrainingPairs(torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


def labels(*rows: tuple[int, int, float, float]) -> Labels:
    a, b, substitute, complement = (np.array(column) for column in zip(*rows, strict=True))
    count = len(rows)
    return Labels(
        a=a.astype(np.int32),
        b=b.astype(np.int32),
        p_substitute=substitute.astype(np.float32),
        p_complement=complement.astype(np.float32),
        p_neither=(1 - substitute - complement).astype(np.float32),
        direction=np.full(count, ""),
        model=np.full(count, "rules"),
        prompt_version=np.full(count, "1"),
        label_mass=np.ones(count, np.float32),
        agreement=np.full(count, 0.5, np.float32),
    )


@pytest.fixture
def supervision() -> Supervision:
    found = labels((2, 3, 0.9, 0.1), (0, 3, 0.0, 0.8), (1, 4, 0.9, 0.0), (1, 2, 0.3, 0.3))
    trainable = torch.tensor([True, True, True, True, False])
    return read_supervision(found, PAIRS, trainable, strength=0.4)


def test_a_labelled_training_pair_is_found_whatever_the_order(supervision: Supervision) -> None:
    assert supervision.on_pairs.tolist() == [1]
    torch.testing.assert_close(supervision.believed, torch.tensor([[0.9, 0.1]]))


def test_belief_raises_a_pair_as_target_and_disbelief_lowers_it(supervision: Supervision) -> None:
    factor = supervision.target_factor(len(PAIRS))
    assert factor[0].tolist() == [1, 1]
    # strength .4 x confidence .5 x (2 p - 1)
    torch.testing.assert_close(factor[1], torch.tensor([1 + 0.2 * 0.8, 1 - 0.2 * 0.8]))


def test_only_likely_pairs_between_trainable_items_are_added(supervision: Supervision) -> None:
    added = supervision.added
    assert list(zip(added.a.tolist(), added.b.tolist(), strict=True)) == [(0, 3)]
    torch.testing.assert_close(added.strength, torch.tensor([[0.0, 0.8 * 0.5 * 0.4]]))
