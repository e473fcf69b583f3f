from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest

from mmsc_cli.runtime.redaction import redact


@pytest.mark.parametrize(
    "key", ["sk-0123456789", "sk-\"01'234\\56", "sk-0123 4567/8+9", "sk-0123456\n", "sk-ключ-0123"]
)
def test_a_key_is_hidden_in_every_form(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MMSC_API_KEY", key)
    forms = [key, key.strip(), repr(key), ascii(key), json.dumps(key), quote(key), quote(key, safe=""), quote_plus(key)]
    for form in [*forms, f"Illegal header value {f'Bearer {key}'.encode()!r}"]:
        if form.isascii() or form == key:
            assert "0123" not in redact(f"before {form} after"), form


def test_a_short_value_hides_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSC_API_KEY", "none")
    assert redact("none of them") == "none of them"
