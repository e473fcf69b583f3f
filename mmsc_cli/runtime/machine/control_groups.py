"""The control groups of this process (cgroup v1 and v2): what a container may use of the machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# Where the first version mounts a controller: beside others that it shares its hierarchy with, in either order.
_MOUNTS = {"memory": ("memory",), "cpu": ("cpu,cpuacct", "cpuacct,cpu", "cpu")}


def control_groups(controller: str, root: Path) -> list[tuple[int, Path]]:
    """Return the version and the folder of each group of this process, from its own up to the outermost.

    Args:
        controller: `memory` or `cpu`.
        root: the folder that has `proc` and `sys`.
    """
    groups: list[tuple[int, Path]] = []
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if not controllers:
                version, mounts = 2, [root / "sys/fs/cgroup"]
            elif controller in controllers.split(","):
                version, mounts = 1, [root / "sys/fs/cgroup" / mount for mount in _MOUNTS[controller]]
            else:
                continue
            inner = Path(name.lstrip("/"))
            # In a container the name may be the one outside of it; then the mount itself is the group.
            folders = (mount / group for mount in mounts for group in (inner, *inner.parents))
            groups += [(version, folder) for folder in folders if folder.is_dir()]
    return groups
