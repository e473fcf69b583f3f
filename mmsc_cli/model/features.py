"""What the model sees of items: embeddings and attributes as tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mmsc_cli.model.graph import Graph
from mmsc_cli.model.parts import Part


@dataclass(frozen=True)
class ItemFeatures:
    """Metadata of `n` items as the semantic level takes it.

    `text` (n, text_dim), `image` (n, image_dim) and `joint` (n, joint_dim; no columns where the encoder makes none) of
    the float type they were stored in, zero rows where absent; `present` (n, 2) bool for text and image, and an item
    with both has a joint vector; `category` and `category_start` an embedding bag of category nodes; `brand` (n,)
    with 0 for unknown;
    `price` (n, 2): standardised log-price and whether it is known.
    """

    text: torch.Tensor
    image: torch.Tensor
    joint: torch.Tensor
    present: torch.Tensor
    category: torch.Tensor
    category_start: torch.Tensor
    brand: torch.Tensor
    price: torch.Tensor

    def __len__(self) -> int:
        return len(self.text)

    @property
    def sides(self) -> tuple[torch.Tensor, ...]:
        """The vectors by modality, (n, dim) each; see `side_masks`."""
        return self.text, self.image, self.joint

    @property
    def side_masks(self) -> torch.Tensor:
        """Which items have a vector of each side, (n, sides) bool."""
        return side_masks(self.present, self.joint.shape[1])

    @cached_property
    def category_membership(self) -> Graph:
        """(n, category nodes) matrix whose rows hold one over the number of an item's nodes; node 0 is none."""
        start = torch.cat([self.category_start, self.category_start.new_tensor([len(self.category)])])
        size = start.diff()
        row = torch.arange(len(self), device=size.device).repeat_interleave(size)
        weight = (self.category > 0) / size[row]
        nodes = int(self.category.max()) + 1 if len(self.category) else 1
        return Graph(start.int(), self.category.int(), weight, nodes, symmetric=False)

    def part(self, start: int, stop: int) -> ItemFeatures:
        """The items of rows start .. stop."""
        bounds = [int(self.category_start[row]) if row < len(self) else len(self.category) for row in (start, stop)]
        rows = slice(start, stop)
        return ItemFeatures(
            self.text[rows],
            self.image[rows],
            self.joint[rows],
            self.present[rows],
            self.category[bounds[0] : bounds[1]],
            self.category_start[rows] - bounds[0],
            self.brand[rows],
            self.price[rows],
        )

    def category_bag(self, row: int) -> torch.Tensor:
        """Category nodes of one item, 0 where it has none that is known."""
        stop = self.category_start[row + 1] if row + 1 < len(self) else len(self.category)
        return self.category[self.category_start[row] : stop]

    def to(self, device: torch.device) -> ItemFeatures:
        """The same on another device."""
        return ItemFeatures(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def side_masks(present: torch.Tensor, joint_dim: int) -> torch.Tensor:
    """Which items have a vector of text, of image and, where there are such vectors, of both: (n, 2 or 3) bool.

    Args:
        present: (n, 2) bool, which items have a text and an image.
        joint_dim: width of a joint vector, 0 for none.
    """
    return torch.cat([present, present.all(dim=1, keepdim=True)], dim=1) if joint_dim else present


@dataclass(frozen=True)
class Attributes:
    """How attribute values become numbers; kept with the model, so that the next night reads them the same way."""

    categories: list[str]
    brands: list[str]
    price_mean: float
    price_scale: float

    @classmethod
    def fit(cls, items: pa.Table) -> Attributes:
        """Number the category nodes and brands that at least two items share, and scale log-prices."""
        nodes = Counter(node for path in items["category"].to_pylist() for node in category_nodes(path))
        brands = Counter(brand for brand in items["brand"].to_pylist() if brand)
        price = items["price"].to_numpy()
        log_price = np.log1p(price[np.isfinite(price)])
        return cls(
            categories=sorted(node for node, count in nodes.items() if count > 1),
            brands=sorted(brand for brand, count in brands.items() if count > 1),
            price_mean=float(log_price.mean()) if len(log_price) else 0.0,
            price_scale=float(log_price.std()) + 1e-6 if len(log_price) else 1.0,
        )

    def features(
        self,
        items: pa.Table,
        sides: Sequence[NDArray[np.floating]],
        present: NDArray[np.bool_],
        without: Sequence[Part] = (),
    ) -> ItemFeatures:
        """Tensors of items whose text, image and joint vectors are given; a part in `without` is treated as absent."""
        text, image, joint = sides
        present = present.copy()
        for column, part in enumerate(("text", "image")):
            if part in without:
                present[:, column] = False
        number = {node: row + 1 for row, node in enumerate(self.categories)}
        brand = {name: row + 1 for row, name in enumerate(self.brands)}
        bags = [
            [number[node] for node in category_nodes(path) if node in number] or [0]
            for path in items["category"].to_pylist()
        ]
        starts = np.cumsum([0, *(len(bag) for bag in bags[:-1])])
        return ItemFeatures(
            text=torch.from_numpy(np.asarray(text) * present[:, :1]),
            image=torch.from_numpy(np.asarray(image) * present[:, 1:]),
            joint=torch.from_numpy(np.asarray(joint) * present.all(axis=1, keepdims=True)),
            present=torch.from_numpy(present),
            category=torch.tensor([node for bag in bags for node in bag]),
            category_start=torch.from_numpy(starts),
            brand=torch.tensor([brand.get(name, 0) for name in items["brand"].to_pylist()]),
            price=self.prices(items),
        )

    def prices(self, items: pa.Table) -> torch.Tensor:
        """Standardised log-price of each item and whether it is known, (n, 2)."""
        price = items["price"].to_numpy()
        known = np.isfinite(price)
        scaled = (np.log1p(np.where(known, price, 0)) - self.price_mean) / self.price_scale
        return torch.from_numpy(np.stack([np.where(known, scaled, 0), known], axis=1).astype(np.float32))


def category_nodes(path: Sequence[str]) -> list[str]:
    """Every node of a category path by its path from the root, so that equal names elsewhere stay apart."""
    return [" > ".join(path[: depth + 1]) for depth in range(len(path))]
