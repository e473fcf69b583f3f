from __future__ import annotations

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.label.annotators import ALIASES, resolve_model


@pytest.mark.parametrize(
    "model", ["", "-x", "--trust-remote-code", "a b", "a\n--port=1", "a\tb", "a\x00b", "\u202emodel"]
)
def test_a_name_that_could_become_an_option_is_refused(model: str) -> None:
    with pytest.raises(InputError, match="not the name of a model"):
        resolve_model(model)


@pytest.mark.parametrize("model", ["org/model-7B", "./-folder", "/models/mine", "gpt-4.1-mini", "modèle"])
def test_any_other_name_stands_for_itself(model: str) -> None:
    assert resolve_model(model) == (model, model)


def test_an_alias_comes_with_its_licence() -> None:
    for alias, (name, licence) in ALIASES.items():
        assert resolve_model(alias) == (name, f"{name} ({licence})")
