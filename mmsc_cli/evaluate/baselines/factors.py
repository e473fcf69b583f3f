"""Item-to-item models of the pairs: EASE in closed form, and weighted matrix factorisation.

In the papers rows are users; here they are the items' own neighbourhoods (adjacency plus identity).
"""

from __future__ import annotations

from importlib.util import find_spec

from scipy import sparse
from threadpoolctl import threadpool_limits

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, dot_products, every
from mmsc_cli.evaluate.context import FittingContext
from mmsc_cli.linear.ease import Ease, with_self
from mmsc_cli.linear.neighbourhood_ease import CutGram, NeighbourhoodEase
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.runtime.seeds import derive_seed

DENSE_ITEMS = 30_000
TUNED_FROM_NEAREST = 5_000
EASE_GRID = (
    {"regularisation": 30.0, "strengths": True},
    {"regularisation": 30.0, "strengths": False},
    {"regularisation": 10.0, "strengths": True},
    {"regularisation": 100.0, "strengths": True},
)
ITERATIONS = 15
ALS_GRID = every(factors=(256, 512), regularisation=(1.0,), confidence=(10.0, 30.0), strengths=(True,))


def fit_ease(task: FittingTask, *, regularisation: float, strengths: bool) -> ScoreRows:
    """EASE: exact where its dense matrix fits, else column by column from the nearest items.

    Partners outside the catalogue are further rows: lists of the items that have them.
    While the setting is chosen, catalogues of more than TUNED_FROM_NEAREST items are fitted from the nearest items too:
    exact fits would take most of the time of an evaluation.

    Args:
        task: what to fit on.
        regularisation: L2 penalty on the weights.
        strengths: whether pairs count by their strength rather than all alike.
    """
    inputs = sparse.csr_array(sparse.vstack([with_self(task.adjacency(strengths=strengths)), task.outside().T]))
    most = min(DENSE_ITEMS, TUNED_FROM_NEAREST) if task.validate else DENSE_ITEMS
    with task.progress.task(task.label):
        if task.context.n_items <= most:
            return Ease(inputs, regularisation).rows
        gram = task.once(strengths, lambda: CutGram.of(inputs))
        return NeighbourhoodEase(inputs, regularisation, gram=gram).rows


def check_als(_: FittingContext) -> None:
    """Check that the package `implicit` is installed.

    Raises:
        InputError: it is not.
    """
    if find_spec("implicit") is None:
        raise InputError(
            "baseline als needs the package `implicit`, which is not installed",
            hint=extra_command("baselines"),
        )


def fit_als(task: FittingTask, *, factors: int, regularisation: float, confidence: float, strengths: bool) -> ScoreRows:
    """Score by the dot product of the query's factors as a row and each item's as a column.

    Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, as the package
    `implicit` computes it.

    Args:
        task: what to fit on.
        factors: width of the vectors.
        regularisation: L2 penalty.
        confidence: a pair counts 1 + confidence times its strength, an absent one 1.
        strengths: whether pairs count by their strength rather than all alike.
    """
    from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415  an optional package

    n_items = task.context.n_items
    known = sparse.csr_matrix(with_self(task.adjacency(strengths=strengths)))
    known.data = 1 + confidence * known.data
    # Its own threads and those of BLAS would compete for the same cores; it warns of that when it is made.
    with task.progress.task(task.label, total=ITERATIONS) as shown, threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=min(factors, n_items),
            regularization=regularisation,
            iterations=ITERATIONS,
            random_state=derive_seed(task.context.seed, f"baseline/als/{task.relation}") % 2**32,
        )
        model.fit(known, show_progress=False, callback=lambda *_: shown.advance())
    return dot_products(model.user_factors, model.item_factors)
