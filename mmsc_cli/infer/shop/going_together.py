"""Which categories go together: whose items shoppers buy together more often than chance would have it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmsc_cli.index.index_file import Index


class GoingTogether:
    """Counts the co-purchase pairs of an index by the categories of their ends."""

    def __init__(self, index: Index) -> None:
        """Compare each count with the one to be expected by chance; both are raised by a half, as small ones vary."""
        category, strength = index.optional("category"), index.optional("known.strength.complement")
        # Pairs of different categories that are related more often than by chance; the best of each first.
        self._left = self._right = np.empty(0, np.int64)
        self._ratio = np.empty(0)
        if category is None or strength is None or not len(category):
            return
        item = np.repeat(np.arange(len(index)), np.diff(index.known.indptr))
        a, b = category[item].astype(np.int64), category[index.known.indices].astype(np.int64)
        bought = (strength > 0) & (a >= 0) & (b >= 0)
        n_categories = int(category.max()) + 1
        keys, seen = np.unique(a[bought] * n_categories + b[bought], return_counts=True)
        left, right = keys // max(n_categories, 1), keys % max(n_categories, 1)
        total = np.bincount(a[bought], minlength=n_categories)
        ratio = (seen + 0.5) / (total[left] * total[right] / max(total.sum(), 1) + 0.5)
        goes = (left != right) & (ratio > 1)
        order = np.lexsort((-ratio[goes], left[goes]))
        self._left, self._right, self._ratio = left[goes][order], right[goes][order], ratio[goes][order]

    def categories(self, numbers: Sequence[int]) -> list[int]:
        """The numbers of the categories that go with some others, the best first; none of those is among them."""
        mine = np.flatnonzero(np.isin(self._left, numbers) & ~np.isin(self._right, numbers))
        best_first = self._right[mine[np.argsort(-self._ratio[mine], kind="stable")]]
        return list(dict.fromkeys(best_first.tolist()))
