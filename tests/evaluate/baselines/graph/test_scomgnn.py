from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.evaluate.baselines.graph.scomgnn import low_pass, mid_pass
from mmsc_cli.evaluate.baselines.graph.views import TrainingGraph
from mmsc_cli.evaluate.context import EvaluationContext


@pytest.fixture
def spectrum(planted: EvaluationContext) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the Laplacian of the training graph, by numpy."""
    adjacency = planted.for_fitting().pairs.adjacency("complement", planted.items).toarray().astype(np.float64)
    degree = adjacency.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    values, vectors = np.linalg.eigh(np.eye(planted.items) - scale[:, None] * adjacency * scale)
    return values, vectors


def test_filters_have_the_response_claimed(planted: EvaluationContext, spectrum: tuple[np.ndarray, np.ndarray]) -> None:
    values, vectors = spectrum
    graph = TrainingGraph(planted.for_fitting(), "complement", torch.device("cpu")).whole().own
    signals = torch.from_numpy(vectors.astype(np.float32))
    for apply, response in ((low_pass, 1 - values / 2), (mid_pass, values * (2 - values))):
        np.testing.assert_allclose(apply(graph, signals).numpy(), vectors * response, atol=1e-5)


def test_the_middle_passes_and_both_ends_do_not(spectrum: tuple[np.ndarray, np.ndarray]) -> None:
    values, _ = spectrum
    assert values.min() == pytest.approx(0, abs=1e-9)
    response = values * (2 - values)
    assert response[np.argmin(abs(values - 1))] == pytest.approx(1)
    assert response[np.argmin(values)] == pytest.approx(0, abs=1e-9)
