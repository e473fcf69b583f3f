"""The snapshot that is served now: a new index is opened beside it, tried, and put in its place in one step."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import Event, Thread

from mmsc_cli.errors import InputError, MmscError, in_workspace
from mmsc_cli.index.shop_rules import digest_of
from mmsc_cli.infer.shop.rule_sources import read_rules, recorded_rules
from mmsc_cli.serve.snapshot import Snapshot, index_digest, kept_digest
from mmsc_cli.workspace.manifest_file import NAME, read_manifest_file

_LOG = logging.getLogger(__name__)
# Seconds between two looks at the manifest.
_EVERY = 0.5


class Current:
    """The snapshot that is served, renewed as the workspace gets new indexes."""

    def __init__(self, root: Path, rules: Path | None = None) -> None:
        """Open the workspace; `rules` is a file of rules of the shop, None for those of the recipe.

        Raises:
            WorkspaceError: it has no index, or a damaged one.
            InputError: the file is none of rules.
        """
        self._root = root
        self._rules = rules
        self._seen = self._look()
        self.snapshot = Snapshot.open(root, rules=rules)
        self.opened = time.time()
        # What is wrong, without paths of this machine; None where the newest index and rules are served.
        self.refused: str | None = None
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch the workspace."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self.renew()

    def renew(self) -> None:
        """Serve the newest index and rules, if there are others that work; else keep the old ones and say why."""
        try:
            manifest = read_manifest_file(self._root) or {}
            # While `mmsc train` puts an index in place, the manifest has no entry of it.
            if "train" not in manifest.get("stages", {}):
                return
            rules = recorded_rules(manifest) if self._rules is None else read_rules(self._rules)
            is_same_index = index_digest(self._root, manifest) == self.snapshot.digest
            is_same_kept = kept_digest(manifest) == self.snapshot.kept_digest
            if is_same_index and is_same_kept and digest_of(rules) == self.snapshot.recommender.book.digest:
                self.refused = None
                return
            fresh = Snapshot.open(self._root, rules=self._rules, read_through=not is_same_index)
        except InputError as error:  # an index is no input: the rules are wrong
            self.refused = "the newest rules are wrong and not served, the old rules go on; the log says why"
            _LOG.warning("the rules are wrong, the old rules and the old index go on: %s", self._described(error))
        except MmscError as error:
            self._refuse(self._described(error))
        except Exception as error:  # whatever is wrong with a new index, the old one goes on
            self._refuse(f"{type(error).__name__}: {error}")
        else:
            # In this order: who sees the new index must not read that it is refused.
            self.refused, self.opened = None, time.time()
            self.snapshot = fresh
            rules_served = len(fresh.recommender.book.rules)
            _LOG.info(
                "now serving index %s of %d items, rules: %d", fresh.digest[:12], len(fresh.recommender), rules_served
            )

    def _refuse(self, reason: str) -> None:
        self.refused = "the newest index is damaged and not served; the log says why"
        _LOG.warning("the new index is not served, the old one goes on: %s", reason)

    def _described(self, error: MmscError) -> str:
        return in_workspace(f"{error.message}; {error.hint}", self._root) if error.hint else error.message

    def _look(self) -> tuple[int, ...]:
        """What shows that the manifest, or the file of rules, was replaced."""
        seen: tuple[int, ...] = ()
        for path in (self._root / NAME, *([self._rules] if self._rules else [])):
            try:
                status = path.stat()
            except OSError:
                continue
            seen += status.st_ino, status.st_mtime_ns, status.st_size
        return seen
