"""A model as a folder, on this machine or on the hub: configuration, tokenizer and safetensors, and never code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmsc_cli.encoders.hub import hub_snapshot
from mmsc_cli.errors import InputError
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.digests import digest_lines
from mmsc_cli.workspace.regular_file import refuse_model_inside

# Configuration and tokenizer. Pickles, code, and the files of other runtimes are not fetched.
TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
WEIGHTS = "*.safetensors"
_CODE = (".py", ".pyc", ".pyd", ".so")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder on this machine; `revision` is the commit of the hub, None for a local folder."""

    name: str
    folder: Path
    revision: str | None

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the folder."""
        return digest(self.folder)

    @cached_property
    def text_sha256(self) -> str:
        """The sha256 of its configuration and tokenizer."""
        files = sorted({file for pattern in TEXT_FILES for file in self.folder.glob(pattern)})
        return digest_lines((file.name, digest(file)) for file in files)


def local_folder(name: str, folder: Path, workspace_root: Path) -> ModelFolder:
    """Take a folder that the user named.

    Raises:
        InputError: it is in the workspace, has pickles without safetensors beside them, or brings code.
    """
    refuse_model_inside(workspace_root, folder, f"--encoder {name}")
    return ModelFolder(name, _checked(name, folder.resolve()), None)


def hub_folder(
    name: str, repository: str, revision: str | None, *, only: Sequence[str] = (*TEXT_FILES, WEIGHTS), local_option: str
) -> ModelFolder:
    """Take a model of the hub, from the cache on this machine or else from the hub, at `revision` or the latest commit.

    Raises:
        InputError: the hub has no such model, it has no safetensors, or it brings code.
        UnreachableError: the model is not on this machine and the hub does not answer.
    """
    folder = hub_snapshot(name, repository, revision, only=only, local_option=local_option)
    return ModelFolder(name, _checked(name, folder), folder.name)


def brings_code(name: str, what: str) -> InputError:
    """Return the error of a model that is more than data."""
    return InputError(f"--encoder {name}: {what}, and no code of a model is run", hint="use a model without it")


def _checked(name: str, folder: Path) -> Path:
    for path in folder.rglob("*"):
        if path.suffix in _PICKLES and not list(path.parent.glob(WEIGHTS)):
            raise InputError(
                f"--encoder {name}: {path.relative_to(folder)} is a pickle, and there is no safetensors file beside it",
                hint="save the model as safetensors: SentenceTransformer(...).save(folder)",
            )
        if path.suffix in _CODE:
            raise brings_code(name, f"{path.relative_to(folder)} is code")
    return folder
