from __future__ import annotations

import pytest

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.runtime.shares import on_ray
from mmsc_cli.runtime.shares.on_ray import RayTasks, is_address, with_address


def test_what_names_a_cluster() -> None:
    for address in ("head:6379", "10.0.0.1:6379", "ray://head.cluster.local:10001", "[::1]:6379"):
        assert is_address(address)
    # `auto` would join whatever cluster is around.
    for other in ("auto", "head", "products.csv", "-k", "", "head:port", "file:///x:1"):
        assert not is_address(other)


def test_ray_without_an_address_is_a_cluster_of_its_own() -> None:
    assert with_address(["--all", "--ray", "-k", "3"]) == ["--all", "--ray=local", "-k", "3"]
    assert with_address(["--all", "--ray"]) == ["--all", "--ray=local"]
    assert with_address(["--ray", "products.csv"]) == ["--ray=local", "products.csv"]
    assert with_address(["--ray", "head:6379", "-q"]) == ["--ray", "head:6379", "-q"]


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="extra ray") as caught:
        RayTasks()
    assert "[ray]" in (caught.value.hint or "")


def test_a_cluster_that_was_not_named_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: object())
    with pytest.raises(InputError, match="no address") as caught:
        RayTasks("auto")
    assert "HOST:PORT" in (caught.value.hint or "")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_said_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: object())
    with pytest.raises(UnreachableError, match="does not answer"):
        RayTasks(address).run(lambda shard: None)
