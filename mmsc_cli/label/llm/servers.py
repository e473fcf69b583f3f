"""The servers that answer: those of the user, or one of our own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mmsc_cli.label.llm.client import LabelClient
from mmsc_cli.label.llm.endpoint import base_url
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.label.vllm.server import serve
from mmsc_cli.runtime.progress import SILENT, Progress


class Servers(ExitStack):
    """A context manager that starts vLLM when the first question is asked, where no endpoint is given.

    Attributes:
        model: the name the servers know the model by.
        settings: manners.
        cache: a folder for finished answers and vLLM's log; None: they do not outlive the run.
        progress: where the progress is shown.
        asked: the client, once a question was to be asked.
    """

    def __init__(
        self,
        model: str,
        settings: LabelSettings,
        *,
        endpoints: Sequence[str] = (),
        cache: Path | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """Prepare to ask.

        Raises:
            InputError: an endpoint is not an http(s) URL.
        """
        super().__init__()
        self.model = model
        self.settings = settings
        self.cache = cache
        self.progress = progress
        self.asked: LabelClient | None = None
        self._endpoints = [base_url(endpoint) for endpoint in endpoints]

    def client(self) -> LabelClient:
        """The client of all servers, always the same: it keeps what it learnt of them.

        Raises:
            InputError: the key in the environment cannot be one.
            UnreachableError: vLLM is not there, or does not start.
        """
        if self.asked is None and self._endpoints:
            self.asked = LabelClient(self._endpoints, self.model, self.settings)
        elif self.asked is None:
            log = (self.cache or Path(tempfile.mkdtemp(prefix="mmsc-"))) / "vllm.log"
            server = self.enter_context(serve(self.model, log, self.settings.server, progress=self.progress))
            self.asked = LabelClient([server.url], self.model, self.settings, key=server.key, broken=server.ended)
        return self.asked
