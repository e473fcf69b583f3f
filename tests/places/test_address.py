"""Addresses: what they name, and that none with a password in it is taken or shown."""

from __future__ import annotations

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.places.address import ObjectAddress, TableAddress, check_database, parse_object, parse_table
from mmsc_cli.runtime.redaction import redact

SECRETS = ("ge/heim", "ge?heim", "ge#heim", "ge heim", "ge'heim", "geheim", "ge%2Fheim", "ge@heim", "ge:heim")


def test_an_address_names_a_table() -> None:
    assert parse_table("postgresql://db/shop/answers") == TableAddress("postgresql://db/shop", None, "answers")
    assert parse_table("postgres://me@db:5432/shop/web.answers?sslmode=require") == TableAddress(
        "postgres://me@db:5432/shop?sslmode=require", "web", "answers"
    )
    assert parse_table("postgresql:///shop?host=/run/postgresql").table == "mmsc_answers"
    assert parse_table("postgresql://a:1,b:2/shop/x").uri == "postgresql://a:1,b:2/shop"
    assert parse_table("postgresql://[::1]:5432/shop/x%20y").table == "x y"
    for wrong in ("postgresql://db/shop/a/b", "postgresql://db/shop/web.", "sqlite:///shop.db", "mysql://db/shop"):
        with pytest.raises(InputError):
            parse_table(wrong)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "form",
    [
        "postgresql://me:{}@db/shop",
        "postgresql://:{}@db/shop",
        "postgres://me:{}@db:5432/shop?sslmode=require",
        "postgresql://db/shop?password={}",
        "postgresql://db/shop?sslmode=require&sslpassword={}",
        "postgresql://db:{}/shop",
    ],
)
def test_no_password_is_taken_or_shown(secret: str, form: str) -> None:
    uri = form.format(secret)
    with pytest.raises(ValueError, match=r"refused|not understood") as caught:
        check_database(uri)
    with pytest.raises(InputError) as refused:
        parse_table(uri)
    for text in (str(caught.value), str(refused.value), str(refused.value.hint)):
        assert secret not in text
        assert "heim" not in text


@pytest.mark.parametrize("secret", [text for text in SECRETS if not {" ", "'"} & set(text)])
def test_an_address_with_a_password_is_hidden_wherever_it_is_said(secret: str) -> None:
    for form in (
        "postgresql://me:{}@db/shop",
        "postgresql://db/shop?password={}",
        "s3://AKIA:{}@shop/x.csv",
        "s3://AKIA:{}" if "@" not in secret else "s3://AKIA:{}@shop",
    ):
        assert "heim" not in redact(f"cannot open {form.format(secret)} now"), form


@pytest.mark.parametrize("secret", SECRETS)
def test_no_key_is_taken_or_shown(secret: str) -> None:
    for address in (f"s3://AKIA:{secret}@shop/x.csv", f"gs://me@shop/{secret}", f"s3://AKIA:{secret}"):
        if "@" in address.partition("://")[2].partition("/")[0] or ":" in address.partition("://")[2].partition("/")[0]:
            with pytest.raises(InputError) as caught:
                parse_object(address)
            assert "heim" not in f"{caught.value.message} {caught.value.hint}"


def test_an_address_without_secrets_is_shown_as_it_is() -> None:
    for text in ("s3://shop/log-?.csv", "gs://shop/user@example/x.csv", "postgresql://db:5432/shop/answers"):
        assert redact(text) == text
    assert redact("postgresql://me@db/shop?sslmode=require") == "postgresql://***@db/shop?***"


def test_a_pattern_has_a_folder_above_its_first_mark() -> None:
    for address, folder in (
        ("s3://b/a/2026-*.csv", "a/"),
        ("s3://b/*/x.csv", ""),
        ("s3://b/a/b/c.csv", "a/b/"),
        ("s3://b/a/b/", "a/b/"),
        ("s3://b", ""),
    ):
        assert parse_object(address).fixed == ObjectAddress("s3", "b", folder)
