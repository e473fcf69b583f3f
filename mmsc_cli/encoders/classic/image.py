"""Images of the classic encoder: colour and gradient statistics, standardised and reduced by PCA.

Gradient orientations in cells follow Dalal & Triggs, "Histograms of oriented gradients for human detection",
CVPR 2005.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.arrays.rows import unit_rows

_SIDE = 64
_THUMBNAIL = 8
_CELL = 16
_ORIENTATIONS = 9
_HSV_BINS = (12, 3, 3)
_BLOCKS = (
    int(np.prod(_HSV_BINS)),
    _THUMBNAIL * _THUMBNAIL * 3,
    (_SIDE // _CELL) ** 2 * _ORIENTATIONS,
)
STATISTICS = sum(_BLOCKS)


class ImageStatistics:
    """Statistics of images, projected on the main axes of the catalogue they were fitted on."""

    def __init__(
        self, centre: NDArray[np.float32], scale: NDArray[np.float32], projection: NDArray[np.float32]
    ) -> None:
        """Take the fitted `centre` and `scale`, (STATISTICS,), and `projection`, (STATISTICS, dim)."""
        self.centre = centre
        self.scale = scale
        self.projection = projection
        self.dim = int(projection.shape[1])

    def encode(self, statistics: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return unit vectors, (images, dim), given the `image_statistics` of each image."""
        if not statistics:
            return np.zeros((0, self.dim), np.float32)
        # A BLAS rounds a large batch differently from a small one. Double precision hides that, so the vector of an
        # image does not depend on the rest of its batch.
        scaled = ((np.stack(statistics) - self.centre) * self.scale).astype(np.float64)
        return unit_rows(scaled @ self.projection.astype(np.float64))


def fit_images(statistics: NDArray[np.float32], dim: int, seed: int) -> ImageStatistics:
    """Fit on the statistics, (images, STATISTICS), of a sample of the catalogue's images.

    The width is `dim`, or the rank of the statistics if that is less. Without two different images the width is `dim`
    and every vector is zero.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415  slow to import, and nights that fit nothing need it not

    blank = np.zeros((STATISTICS, dim), np.float32)
    if not len(statistics) or np.ptp(statistics, axis=0).max() < 1e-6:
        return ImageStatistics(np.zeros(STATISTICS, np.float32), np.ones(STATISTICS, np.float32), blank)
    centre = statistics.mean(axis=0, dtype=np.float64)
    spread = statistics.std(axis=0, dtype=np.float64)
    # A bin that is nearly constant is noise; the floor of .01 keeps it small. Each block has the same weight, however
    # many numbers it has.
    scale = 1 / np.maximum(spread, 0.01) / np.sqrt(np.repeat(_BLOCKS, _BLOCKS))
    pca = PCA(min(dim, STATISTICS, len(statistics) - 1), svd_solver="full", random_state=seed)
    pca.fit((statistics - centre) * scale)
    kept = pca.explained_variance_ > pca.explained_variance_.max() * 1e-6
    return ImageStatistics(
        centre.astype(np.float32),
        scale.astype(np.float32),
        np.ascontiguousarray(pca.components_[kept].T, dtype=np.float32),
    )


def image_statistics(image: Image.Image) -> NDArray[np.float32]:
    """Return the colour histogram, thumbnail and gradient orientations of an RGB image, (STATISTICS,)."""
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    thumbnail = np.asarray(small.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), dtype=np.float32) / 255
    return np.concatenate([_colours(small), thumbnail.ravel(), _gradients(small)])


def _colours(image: Image.Image) -> NDArray[np.float32]:
    hsv = np.asarray(image.convert("HSV"), dtype=np.int64).reshape(-1, 3)
    bins = hsv * np.asarray(_HSV_BINS) // 256
    cell = np.ravel_multi_index((bins[:, 0], bins[:, 1], bins[:, 2]), _HSV_BINS)
    counts = np.bincount(cell, minlength=_BLOCKS[0])
    return np.sqrt(counts / len(hsv)).astype(np.float32)


def _gradients(image: Image.Image) -> NDArray[np.float32]:
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    orientation = np.mod(np.arctan2(down, right), np.pi) * (_ORIENTATIONS / np.pi)
    bins = np.minimum(orientation.astype(np.int64), _ORIENTATIONS - 1)
    y, x = np.indices(grey.shape) // _CELL
    cell = (y * (_SIDE // _CELL) + x) * _ORIENTATIONS + bins
    counts = np.bincount(cell.ravel(), weights=strength.ravel(), minlength=_BLOCKS[2])
    unit: NDArray[np.float32] = unit_rows(counts[None])[0]
    return unit
