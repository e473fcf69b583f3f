"""Judging by hand over HTTP: the same pairs and the same file as `mmsc judge` has."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmsc_cli.errors import MmscError
from mmsc_cli.serve.problems import RefusedError
from mmsc_cli.serve.questions import JudgementBody, PairsQuery

_LOG = logging.getLogger(__name__)


class Desk:
    """Gives out pairs, and keeps what people say of them."""

    def __init__(self, root: Path, is_open: bool) -> None:
        """`is_open`: everybody may judge who may ask."""
        self._root = root
        self._is_open = is_open

    def refusal(self) -> str | None:
        """Why nobody can judge here; None where people can."""
        if not self._is_open:
            return "a server that lets everybody ask (--no-auth) takes no judgements: set MMSC_API_KEY"
        if not os.access(self._root, os.W_OK | os.X_OK):
            return "this server may only read its workspace, and judgements are kept there"
        return None

    def pairs(self, asked: PairsQuery) -> dict[str, Any]:
        """Pairs for a person to judge, without what mmsc thinks of them, or why there are none."""
        from mmsc_cli.label.people.judging import Judging  # noqa: PLC0415  brings pyarrow
        from mmsc_cli.workspace.workspace import Workspace  # noqa: PLC0415  only judging needs it

        refused = self.refusal()
        if refused is not None:
            return {"pairs": [], "judged": 0, "refused": refused}
        try:
            judging = Judging(Workspace(self._root), asked.who)
            pairs = judging.pairs(asked.n, asked.seed)
        except MmscError as error:
            _LOG.warning("nothing to judge: %s", error.message)
            return {"pairs": [], "judged": 0, "refused": "this workspace lacks what judging needs; the log says what"}
        shown = [{"a": judging.item(pair.a), "b": judging.item(pair.b), "source": pair.source} for pair in pairs]
        return {"pairs": shown, "judged": judging.judged, "refused": None}

    def keep(self, judgement: JudgementBody) -> None:
        """Write a judgement down.

        Raises:
            RefusedError: nobody can judge here, or the file cannot be written.
        """
        from mmsc_cli.tables.judgements import FILE, append_judgement  # noqa: PLC0415  brings pyarrow

        if (refused := self.refusal()) is not None:
            raise RefusedError(403, refused)
        try:
            append_judgement(self._root / FILE, {**judgement.model_dump(), "time": datetime.now(UTC)})
        except OSError as error:
            _LOG.warning("a judgement could not be written: %s", error)
            raise RefusedError(503, "the judgement could not be written; the server's log says why") from error
