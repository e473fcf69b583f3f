"""The digest of an artefact, from the digests of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any


def artefact_digest(artefact: str, files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of an artefact from the description of its files, by their names in the workspace."""
    if artefact in files:
        return str(files[artefact].get("sha256"))
    return digest_lines((name.removeprefix(f"{artefact}/"), str(files[name].get("sha256"))) for name in sorted(files))


def artefact_digests(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each artefact that a stage made, from its entry in the manifest.

    An earlier version recorded digests of whole artefacts too, and for some nothing else.
    """
    by_artefact: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, file in record.get("files", {}).items():
        by_artefact.setdefault(name.partition("/")[0], {})[name] = file
    whole = record.get("outputs")
    digests = {artefact: artefact_digest(artefact, files) for artefact, files in by_artefact.items()}
    return {**whole, **digests} if isinstance(whole, dict) else digests


def digest_lines(lines: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a folder from a line for each file: its name in the folder, and its own digest."""
    whole = sha256()
    for name, content in lines:
        whole.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()
