"""A file system in memory, as large as a test wants it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def mount(folder: Path, options: str) -> bool:
    """Mount one; false where that is not allowed."""
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def remount(folder: Path, options: str) -> None:
    """Change its size, or whether it may be written to."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """Take it away."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def may_mount() -> bool:
    """Whether a file system can be made in a file and mounted here."""
    with tempfile.TemporaryDirectory() as name:
        image, folder = Path(name) / "image", Path(name) / "folder"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(1 << 20)
        try:
            for command in (
                ["mkfs.ext4", "-q", "-F", image],
                ["mount", "-o", "loop", image, folder],
                ["umount", folder],
            ):
                subprocess.run(list(map(str, command)), check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    return True
