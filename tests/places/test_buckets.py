"""Sources in buckets: found, copied once, and read as if they were files of this machine."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.errors import InputError, UnreachableError, WorkspaceError
from mmsc_cli.places import buckets
from mmsc_cli.places.address import parse_object
from mmsc_cli.places.buckets import find_objects
from mmsc_cli.places.copies import Copies
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.object_store import KEY_ID, SECRET, ObjectStore

if TYPE_CHECKING:
    from tests.conftest import Mmsc

ITEMS = "item_id,title,category\n" + "".join(f"A{n},Lamp {n},Home > Lamps\n" for n in range(30))
HEADER = "session,item,type,time\n"


def _day(day: int, sessions: int = 40) -> str:
    return HEADER + "".join(
        f"{day}-{n},A{item},{kind},2026-05-{day:02} 10:{n % 60:02}:00\n"
        for n in range(sessions)
        for item, kind in ((n % 15, "view"), (n % 15 + 15, "view"), (n % 15, "purchase"), ((n + 1) % 15, "purchase"))
    )


def _fill(store: ObjectStore, *days: int) -> None:
    store.put("products.csv", ITEMS)
    for day in days:
        store.put(f"log/events-2026-05-{day:02}.csv.gz", gzip.compress(_day(day).encode(), mtime=0))


def _tables(workspace: Path) -> list[str]:
    files = Workspace(workspace).manifest().stages["prepare"].files
    return [files[name].sha256 for name in ("items.parquet", "pairs.parquet")]


LOG = "s3://shop/log/events-*.csv.gz"


def test_a_pattern_means_what_it_means_among_files(object_store: ObjectStore) -> None:
    for key in ("a.csv", "log/b.csv", "log/c.csv.gz", "log/deep/d.csv", "log/[e].csv", "log/deep/er/f.csv"):
        object_store.put(key, "x")

    def found(address: str) -> list[str]:
        return [stored.address.key for stored in find_objects(parse_object(address))]

    assert found("s3://shop/a.csv") == ["a.csv"]
    assert found("s3://shop/*.csv") == ["a.csv"]
    assert found("s3://shop/log/*.csv") == ["log/[e].csv", "log/b.csv"]
    assert found("s3://shop/log/[bc].csv*") == ["log/b.csv", "log/c.csv.gz"]
    assert found("s3://shop/log/[e].csv") == ["log/[e].csv"], "a key that is there is that object"
    assert found("s3://shop/log/d*/*.csv") == ["log/deep/d.csv"]
    assert found("s3://shop/log/**/*.csv") == ["log/[e].csv", "log/b.csv", "log/deep/d.csv", "log/deep/er/f.csv"]
    assert len(found("s3://shop/log/")) == 5
    assert len(found("s3://shop")) == 6


def test_objects_are_prepared_as_files_are(
    mmsc: Mmsc, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(object_store, 1, 2)
    monkeypatch.chdir(tmp_path)
    for key in object_store.list_keys():
        path = tmp_path / "local" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(object_store.get(key))

    there = mmsc("prepare", "s3://shop/products.csv", LOG, "-w", "there")
    here = mmsc("prepare", "local/products.csv", "local/log/events-*.csv.gz", "-w", "here")

    assert (there.code, here.code) == (0, 0), there.err
    assert _tables(tmp_path / "there") == _tables(tmp_path / "here")
    assert "items: s3://shop/products.csv\n" in there.err
    recipe = (tmp_path / "there" / "recipe.toml").read_text()
    assert f'events = "{LOG}"' in recipe
    assert 'items = "s3://shop/products.csv"' in recipe
    again = mmsc("prepare", "there/recipe.toml", "-w", "there")
    assert "up to date" in again.err


def test_a_new_day_costs_that_day(mmsc: Mmsc, object_store: ObjectStore, tmp_path: Path) -> None:
    recipe = tmp_path / "shop.toml"
    recipe.write_text(
        f'name = "shop"\n[source]\nkind = "events"\nitems = "s3://shop/products.csv"\nevents = "{LOG}"\nsince = "90d"\n'
    )
    _fill(object_store, 1, 2, 3)
    assert mmsc("prepare", recipe, "-w", tmp_path / "ws").code == 0
    copies = tmp_path / "ws" / "downloads" / "s3" / "shop" / "log"
    _fill(object_store, 4)
    night = mmsc("prepare", recipe, "-w", tmp_path / "ws")

    assert night.code == 0
    assert "log: 1 file read, 3 files unchanged" in night.err
    assert len(list(copies.iterdir())) == 4
    assert mmsc("prepare", recipe, "-w", tmp_path / "fresh").code == 0
    assert _tables(tmp_path / "ws") == _tables(tmp_path / "fresh")
    object_store.delete("log/events-2026-05-01.csv.gz")
    fewer = mmsc("prepare", recipe, "-w", tmp_path / "ws")
    assert "events-2026-05-01.csv, part of the log at the last prepare, is gone" in fewer.err
    assert len(list(copies.iterdir())) == 3, "no copies are left of objects that are gone"


def test_an_object_that_did_not_change_is_not_fetched_again(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsc_cli.places.copies._SETTLED_NS", -(10**18))  # as if all objects were old
    _fill(object_store, 1, 2)
    fetched: list[str] = []
    fetch = buckets.fetch_object

    def watched(stored: Any, *rest: Any) -> None:
        fetched.append(stored.address.key)
        fetch(stored, *rest)

    monkeypatch.setattr("mmsc_cli.places.copies.fetch_object", watched)
    Copies(tmp_path).files(LOG)
    assert len(fetched) == 2
    assert [path.name for path in Copies(tmp_path).files(LOG)] == [Path(key).name for key in fetched]
    assert len(fetched) == 2
    object_store.put("log/events-2026-05-02.csv.gz", "other")
    assert Copies(tmp_path).files(LOG)[1].read_bytes() == b"other"
    assert len(fetched) == 3


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://shop/none.csv", "no file at s3://shop/none.csv"),
        ("s3://shop/none-*.csv", r"no file at s3://shop/none-\*.csv"),
        ("s3://nobucket/log/*.csv", "there is no bucket nobucket"),
        ("s3:///x.csv", "no bucket in it"),
        (f"s3://{KEY_ID}:{SECRET}@shop/x.csv", "with a password or a key in it is refused"),
    ],
)
def test_what_is_not_there_is_one_line(
    mmsc: Mmsc, object_store: ObjectStore, tmp_path: Path, address: str, said: str
) -> None:
    object_store.put("products.csv", ITEMS)

    ran = mmsc("run", "s3://shop/products.csv", address, "-w", tmp_path / "ws")

    assert ran.code == 2
    assert SECRET not in ran.err
    assert len(ran.err.splitlines()) <= 3
    with pytest.raises(InputError, match=said):
        find_objects(parse_object(address))


def test_a_bucket_without_permission_is_one_line_and_yesterdays_workspace_stays(
    mmsc: Mmsc,
    object_store: ObjectStore,
    strict_object_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _fill(object_store, 1)
    night = ["prepare", "s3://shop/products.csv", LOG, "-w", tmp_path / "ws", "--log-format", "json"]
    assert mmsc(*night).code == 0
    before = (tmp_path / "ws" / "manifest.json").read_bytes()

    monkeypatch.setenv("AWS_ENDPOINT_URL", strict_object_server)
    refused = mmsc(*night)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = mmsc(*night)

    assert (refused.code, away.code) == (2, 4)
    for ran, said in ((refused, "no permission"), (away, "the store does not answer")):
        assert said in json.loads(ran.err.splitlines()[-1])["message"]
        assert KEY_ID not in ran.err
        assert SECRET not in ran.err
    assert (tmp_path / "ws" / "manifest.json").read_bytes() == before


def test_an_object_that_is_replaced_while_it_is_read_is_not_taken(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put("x.csv", "a" * 100)
    (stored,) = find_objects(parse_object("s3://shop/x.csv"))
    object_store.put("x.csv", "b" * 90)

    with pytest.raises(InputError, match="was replaced while it was read"):
        buckets.fetch_object(stored, tmp_path / "x.csv")

    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_is_lost_leaves_nothing(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put("x.csv", "a" * 100)
    (stored,) = find_objects(parse_object("s3://shop/x.csv"))

    class Breaking:
        def read(self, size: int) -> bytes:
            raise OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 56")

    class Store:
        get_file_info = object_store.files.get_file_info

        def open_input_stream(self, path: str, compression: None) -> Breaking:
            return Breaking()

    monkeypatch.setattr(buckets, "_store", lambda *_: Store())
    with pytest.raises(UnreachableError, match=r"s3://shop/x\.csv: the store does not answer"):
        buckets.fetch_object(stored, tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


def test_no_key_leads_out_of_the_workspace(tmp_path: Path) -> None:
    for key in ("../x.csv", "a/../../x.csv", "a//b.csv", "./x.csv"):
        with pytest.raises(InputError, match="no file can be called so"):
            Copies(tmp_path).local(f"s3://shop/{key}")
    with pytest.raises(InputError, match="no file can be called so"):
        Copies(tmp_path).local("s3://../x.csv")


def test_no_link_in_a_strangers_workspace_is_followed(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.put("log/x.csv", "x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "downloads" / "s3").mkdir(parents=True)
    (tmp_path / "downloads" / "s3" / "shop").symlink_to(tmp_path / "outside")

    with pytest.raises(WorkspaceError, match="is a link"):
        Copies(tmp_path / "downloads").files("s3://shop/log/x.csv")

    assert list((tmp_path / "outside").iterdir()) == []
