from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mmsc_cli.prepare.records import CATALOGUE_SCHEMA
from mmsc_cli.prepare.settings import DemoSource
from mmsc_cli.prepare.sources.demo.generate import DemoCatalogue, generate_demo
from mmsc_cli.prepare.sources.demo.shoppers import ShopEdges

SMALL = DemoSource(kind="demo", items=300, images=False)


def fingerprint(catalogue: DemoCatalogue) -> str:
    """A hash over everything a catalogue says."""
    digest = sha256(repr((catalogue.items.to_pylist(), catalogue.counts)).encode())
    for edges in (catalogue.views, catalogue.purchases):
        for array in (edges.source, edges.target, edges.strength):
            digest.update(array.tobytes())
    assert catalogue.truth is not None
    digest.update(repr(catalogue.truth.to_pylist()).encode())
    return digest.hexdigest()


def test_same_seed_same_catalogue_in_any_process(tmp_path: Path) -> None:
    here = fingerprint(generate_demo(SMALL, 1, None))
    assert here != fingerprint(generate_demo(SMALL, 2, None))
    script = tmp_path / "elsewhere.py"
    script.write_text(
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('elsewhere', {str(Path(__file__))!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "sys.stdout.write(module.fingerprint(module.generate_demo(module.SMALL, 1, None)))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run([sys.executable, script], env=environment, capture_output=True, check=True)
    assert answer.stdout.decode() == here


def test_items_have_their_schema_and_unique_ids(catalogue: DemoCatalogue) -> None:
    assert catalogue.items.schema == CATALOGUE_SCHEMA
    catalogue.items.validate(full=True)
    ids = catalogue.items["item_id"].to_pylist()
    assert len(set(ids)) == len(ids) == 1_000


def test_some_modalities_are_missing(catalogue: DemoCatalogue) -> None:
    items = catalogue.items.to_pydict()
    missing = {
        "image": np.mean([path is None for path in items["image_path"]]),
        "description": np.mean([text == "" for text in items["description"]]),
        "price": np.mean(np.isnan(items["price"])),
        "brand": np.mean([text == "" for text in items["brand"]]),
    }
    assert all(0 < share < 0.1 for share in missing.values()), missing


@pytest.mark.parametrize("name", ["views", "purchases"])
def test_edges_are_sound(catalogue: DemoCatalogue, name: str) -> None:
    edges: ShopEdges = getattr(catalogue, name)
    items = len(catalogue.items)
    assert (edges.source != edges.target).all()
    assert min(edges.source.min(), edges.target.min()) >= 0
    assert max(edges.source.max(), edges.target.max()) < items
    assert len(np.unique(edges.source * items + edges.target)) == len(edges.source)
    assert edges.strength.max() == pytest.approx(1.5)
    assert edges.strength.min() > 0.5
    assert np.bincount(edges.source).max() <= 40


def test_every_item_has_behaviour_and_degrees_have_a_heavy_tail(catalogue: DemoCatalogue) -> None:
    ends = [np.concatenate([edges.source, edges.target]) for edges in (catalogue.views, catalogue.purchases)]
    degree = np.bincount(np.concatenate(ends), minlength=1_000)
    assert degree.min() >= 1
    assert degree.max() > 8 * np.median(degree)
    bought = np.bincount(ends[1], minlength=1_000)
    assert (bought < 3).mean() > 0.1


def test_counts_say_what_was_made(catalogue: DemoCatalogue) -> None:
    assert catalogue.counts == {
        "items": 1_000,
        "sessions": 40_000,
        "view_edges": len(catalogue.views.source),
        "purchase_edges": len(catalogue.purchases.source),
        "images": 1_000 - catalogue.items["image_path"].null_count,
    }


@pytest.mark.parametrize("images", [True, False])
def test_without_pictures(tmp_path: Path, images: bool) -> None:
    folder = None if images else tmp_path / "images"
    catalogue = generate_demo(DemoSource(kind="demo", items=200, images=images), 1, folder)
    assert catalogue.items["image_path"].null_count == 200
    assert catalogue.counts["images"] == 0
    assert not list(tmp_path.iterdir())


def test_pictures_do_not_change_the_rest(catalogue: DemoCatalogue) -> None:
    bare = generate_demo(DemoSource(kind="demo", items=1_000, images=False), 3, None)
    columns = [name for name in CATALOGUE_SCHEMA.names if name not in ("image_path", "price")]
    assert bare.items.select(columns).equals(catalogue.items.select(columns))
    np.testing.assert_array_equal(bare.views.target, catalogue.views.target)
