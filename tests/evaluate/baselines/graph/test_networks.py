from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.evaluate.baselines.baseline import FittingTask
from mmsc_cli.evaluate.baselines.graph.networks import spectral_filters
from mmsc_cli.evaluate.baselines.graph.training_graph import TrainingGraph
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.tables.relations import Relation


def _graph(context: EvaluationContext, relation: Relation) -> TrainingGraph:
    return TrainingGraph(FittingTask(context.for_fitting("train"), relation, "under test"), torch.device("cpu"))


@pytest.fixture
def spectrum(planted: EvaluationContext) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the Laplacian of the training graph, by numpy."""
    adjacency = planted.for_fitting("train").pairs.adjacency("complement", planted.n_items).toarray().astype(np.float64)
    degree = adjacency.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    values, vectors = np.linalg.eigh(np.eye(planted.n_items) - scale[:, None] * adjacency * scale)
    return values, vectors


def test_filters_have_the_response_claimed(planted: EvaluationContext, spectrum: tuple[np.ndarray, np.ndarray]) -> None:
    values, vectors = spectrum
    graph = _graph(planted, "complement").whole().own
    low, middle = spectral_filters(graph, torch.from_numpy(vectors.astype(np.float32)))
    np.testing.assert_allclose(low.numpy(), vectors * (1 - values / 2) ** 2, atol=1e-5)
    np.testing.assert_allclose(middle.numpy(), vectors * values * (2 - values), atol=1e-5)


def test_a_smooth_signal_is_low_and_an_unrelated_one_is_in_the_middle(
    planted: EvaluationContext, spectrum: tuple[np.ndarray, np.ndarray]
) -> None:
    values, vectors = spectrum
    graph = _graph(planted, "complement").whole().own
    smooth, unrelated = (vectors[:, [np.argmin(abs(values - wanted))]] for wanted in (0, 1))
    for signal, kept in ((smooth, (1, 0)), (unrelated, (0.25, 1))):
        found = spectral_filters(graph, torch.from_numpy(signal.astype(np.float32)))
        lengths = [float(part.norm()) for part in found]
        np.testing.assert_allclose(lengths, kept, atol=0.05)
