"""The versions of the software that results depend on."""

from __future__ import annotations

import platform
from importlib import metadata

from mmsc_cli.version import __version__


def software_versions() -> dict[str, str]:
    """Versions of what the results depend on, for the manifest."""
    packages = ("numpy", "scipy", "scikit-learn", "pyarrow", "torch", "torch-geometric", "open_clip_torch")
    versions = {"mmsc-cli": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
