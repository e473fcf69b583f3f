"""Substitutable and complementary items of a catalogue, from metadata and noisy shopper behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsc_cli.version import __version__

if TYPE_CHECKING:
    from mmsc_cli.infer.recommender import Recommender

__all__ = ["Recommender", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Recommender":
        from mmsc_cli.infer.recommender import Recommender  # noqa: PLC0415  `mmsc --help` does without numpy

        return Recommender
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
