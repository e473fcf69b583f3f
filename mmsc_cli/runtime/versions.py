from __future__ import annotations

import platform
from importlib import metadata

from mmsc_cli.version import __version__


def software_versions() -> dict[str, str]:
    """Versions of what the results depend on, for the manifest."""
    packages = ("numpy", "scipy", "scikit-learn", "pyarrow", "torch", "torch-geometric", "open_clip_torch")
    found = {"mmsc-cli": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
