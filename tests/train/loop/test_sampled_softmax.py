from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.train.loop import sampled_softmax as sampled
from mmsc_cli.train.loop.data import Candidates
from mmsc_cli.train.loop.loss import catalogue_softmax
from mmsc_cli.train.loop.sampled_softmax import Sample, inclusion, sampled_softmax

ITEMS, DIM, GROUP = 120, 4, 24
# Three quarters of the catalogue: the bias of an estimate's logarithm (see the module) is far below the noise of DRAWS.
UNIFORM, DRAWS = 90, 300
EVERY_ITEM = Candidates(np.arange(ITEMS))


@dataclass(frozen=True)
class Toy:
    """A catalogue in which a few items are targets of many: what a wrong q gets most wrong."""

    query: torch.Tensor
    key: torch.Tensor
    targets: sparse.csr_array[Any]
    hidden: sparse.csr_array[Any]
    asked: NDArray[np.int64]

    def full(self) -> NDArray[np.float64]:
        """The gradient of the full softmax: queries', then keys'."""
        found = catalogue_softmax(
            self.query[self.asked], self.key, self.asked, self.targets[self.asked], self.hidden[self.asked], 1 << 20
        )
        return torch.cat([found.query.flatten(), found.key.flatten()]).double().numpy()

    def sampled(self, random: np.random.Generator) -> NDArray[np.float64]:
        """The same, estimated from one draw of groups and of uniform negatives."""
        order = random.permutation(len(self.asked))
        asked = self.asked[order]
        uniform = np.sort(random.choice(ITEMS, UNIFORM, replace=False))
        found = sampled_softmax(
            self.query[asked],
            self.key,
            Sample(EVERY_ITEM, uniform, ITEMS),
            asked,
            self.targets,
            self.hidden,
            logits_per_chunk=7 * ITEMS,
            group=GROUP,
        )
        query = torch.empty_like(found.query)
        query[torch.from_numpy(order)] = found.query
        return torch.cat([query.flatten(), found.key.flatten()]).double().numpy()


@pytest.fixture(scope="module")
def toy() -> Toy:
    random = np.random.default_rng(5)
    popularity = 1 / np.arange(1, ITEMS + 1)
    pairs = random.choice(ITEMS, size=(500, 2), p=popularity / popularity.sum())
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    matrices = []
    for chosen in (pairs[::2], pairs[1::2]):
        strength = random.uniform(0.5, 1.5, len(chosen)).astype(np.float32)
        half = sparse.coo_array((strength, (chosen[:, 0], chosen[:, 1])), shape=(ITEMS, ITEMS))
        matrices.append(sparse.csr_array(half + half.T))
    torch.manual_seed(0)
    query, key = torch.randn(2, ITEMS, DIM) * 0.5
    return Toy(query, key, matrices[0], matrices[1], np.flatnonzero(np.diff(matrices[0].indptr)))


def standardised_error(toy: Toy) -> NDArray[np.float64]:
    """The mean of sampled gradients less the full one, in standard errors of that mean, by component."""
    random = np.random.default_rng(1)
    found = np.stack([toy.sampled(random) for _ in range(DRAWS)])
    off, error = found.mean(axis=0) - toy.full(), found.std(axis=0, ddof=1) / np.sqrt(DRAWS)
    varies = error > 1e-9
    return np.asarray(off[varies] / error[varies])


def test_the_expected_gradient_is_that_of_the_full_softmax(toy: Toy) -> None:
    found = standardised_error(toy)
    assert len(found) > 800
    # The largest of so many standard normal values is below 4.5 but once in two hundred times.
    assert np.abs(found).max() < 4.5
    # Their mean square is 1; what is above it is bias.
    assert np.mean(found**2) < 1.5


@pytest.mark.parametrize("wrong", ["no correction", "uniform alone", "twice the correction"])
def test_without_the_right_log_q_it_is_not(toy: Toy, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    def wrong_inclusion(degree: NDArray[Any], group: int, population: int, uniform_share: float) -> NDArray[np.float64]:
        right = inclusion(degree, group, population, uniform_share)
        other = {
            "no correction": np.ones_like(right),
            "uniform alone": np.full_like(right, uniform_share),
            "twice the correction": right**2,
        }
        return other[wrong]

    monkeypatch.setattr(sampled, "inclusion", wrong_inclusion)
    assert np.mean(standardised_error(toy) ** 2) > 10


def test_a_sample_of_the_whole_catalogue_is_the_full_softmax(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "UNIFORM", ITEMS)
    np.testing.assert_allclose(toy.sampled(np.random.default_rng(0)), toy.full(), atol=1e-5)


def test_inclusion_is_how_often_an_item_is_drawn() -> None:
    random = np.random.default_rng(0)
    population, group, share, degree = 40, 6, 0.1, 5
    draws = 20_000
    # The one that asks is drawn already, and has not the item as a target.
    others = random.random((draws, population - 1)).argsort(axis=1)[:, : group - 1]
    drawn = (others < degree).any(axis=1) | (random.random(draws) < share)
    expected = inclusion(np.array([degree, 0, population - 1]), group, population, share)
    assert drawn.mean() == pytest.approx(expected[0], abs=4 * np.sqrt(0.25 / draws))
    assert expected[1] == pytest.approx(share)
    assert expected[2] == pytest.approx(1)
