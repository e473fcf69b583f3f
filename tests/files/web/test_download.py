from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.files.web.download import download

URL = "https://data.example/meta.json.gz"
CONTENT = bytes(range(256)) * 40
SHA256 = sha256(CONTENT).hexdigest()


class _Body(httpx.SyncByteStream):
    """A body sent in blocks, which may break off."""

    def __init__(self, content: bytes, error: BaseException | None = None) -> None:
        self._content = content
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), 1_000):
            yield self._content[start : start + 1_000]
        if self._error:
            raise self._error


class _Server:
    """Answers with `answer` and remembers what was asked."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer
        self.transport = httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)


def _whole(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Length": str(len(CONTENT))}, stream=_Body(CONTENT))


def _ranges(request: httpx.Request) -> httpx.Response:
    asked = request.headers.get("Range")
    if asked is None:
        return _whole(request)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= len(CONTENT):
        return httpx.Response(416, headers={"Content-Range": f"bytes */{len(CONTENT)}"})
    rest = CONTENT[start:]
    headers = {
        "Content-Length": str(len(rest)),
        "Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}",
    }
    return httpx.Response(206, headers=headers, stream=_Body(rest))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """In a folder that is not there yet."""
    return tmp_path / "downloads" / "meta.json.gz"


def _part(target: Path, content: bytes) -> Path:
    target.parent.mkdir()
    part = target.with_name("meta.json.gz.part")
    part.write_bytes(content)
    return part


def test_a_file_arrives_whole_and_leaves_no_part(target: Path) -> None:
    server = _Server(_whole)
    assert download(URL, target, SHA256, transport=server.transport) == SHA256
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["meta.json.gz"]


def test_a_file_that_is_there_is_not_fetched_again(target: Path) -> None:
    download(URL, target, transport=_Server(_whole).transport)
    server = _Server(_whole)
    assert download(URL, target, SHA256, transport=server.transport) == SHA256
    assert server.asked == []


@pytest.mark.parametrize("have", [1, 999, len(CONTENT) - 1])
def test_a_download_goes_on_where_it_broke_off(target: Path, have: int) -> None:
    _part(target, CONTENT[:have])
    server = _Server(_ranges)
    download(URL, target, SHA256, transport=server.transport)
    assert target.read_bytes() == CONTENT
    assert [request.headers["Range"] for request in server.asked] == [f"bytes={have}-"]


def test_a_server_without_ranges_starts_over(target: Path) -> None:
    _part(target, b"old and wrong" * 2_000)
    download(URL, target, SHA256, transport=_Server(_whole).transport)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_kept(target: Path) -> None:
    _part(target, CONTENT)
    server = _Server(_ranges)
    download(URL, target, SHA256, transport=server.transport)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_part_longer_than_the_file_is_dropped_and_fetched_anew(target: Path) -> None:
    _part(target, CONTENT + b"more")
    server = _Server(_ranges)
    download(URL, target, SHA256, transport=server.transport)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_server_that_refuses_every_range_is_not_asked_for_ever(target: Path) -> None:
    _part(target, b"x")
    target.with_name("meta.json.gz.part.version").write_text('"1"')
    server = _Server(lambda _: httpx.Response(416))
    with pytest.raises(UnreachableError, match="the server answers 416"):
        download(URL, target, transport=server.transport)
    assert len(server.asked) == 2


def test_a_broken_connection_keeps_what_arrived(target: Path) -> None:
    def break_off(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=_Body(CONTENT[:3_000], httpx.ReadError("connection reset")))

    with pytest.raises(UnreachableError, match="connection reset") as caught:
        download(URL, target, transport=_Server(break_off).transport)
    assert "--input" in str(caught.value.hint)
    assert target.with_name("meta.json.gz.part").read_bytes() == CONTENT[:3_000]
    assert not target.exists()
    download(URL, target, SHA256, transport=_Server(_ranges).transport)
    assert target.read_bytes() == CONTENT


def test_a_short_body_is_no_whole_file(target: Path) -> None:
    def short(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Length": str(len(CONTENT))}, stream=_Body(CONTENT[:2_000]))

    with pytest.raises(UnreachableError, match="broke off at byte 2,000 of 10,240"):
        download(URL, target, transport=_Server(short).transport)
    assert not target.exists()


def test_no_connection_is_named_in_one_line(target: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host", request=request)

    with pytest.raises(UnreachableError, match=f"cannot download {URL}: no route to host"):
        download(URL, target, transport=_Server(refuse).transport)
    with pytest.raises(UnreachableError, match="the server answers 404 Not Found") as caught:
        download(URL, target, transport=_Server(lambda _: httpx.Response(404)).transport)
    assert "\n" not in caught.value.message


def test_another_file_than_the_recipe_names_is_removed(target: Path) -> None:
    with pytest.raises(InputError, match=f"sha256 {SHA256}, the recipe says {'0' * 64}"):
        download(URL, target, "0" * 64, transport=_Server(_whole).transport)
    assert list(target.parent.iterdir()) == []


def test_a_gzip_file_is_not_unpacked_on_the_way(target: Path) -> None:
    def claims_encoding(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=_Body(CONTENT))

    download(URL, target, SHA256, transport=_Server(claims_encoding).transport)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["http://data.example/x", "file:///etc/passwd", "data.example/x", "https://x.example:port/"]
)
def test_only_https_is_fetched(target: Path, url: str) -> None:
    server = _Server(_whole)
    with pytest.raises(InputError) as caught:
        download(url, target, transport=server.transport)
    assert caught.value.hint
    assert server.asked == []
    assert not target.exists()


def test_a_redirect_to_plain_http_is_not_followed(target: Path) -> None:
    server = _Server(lambda _: httpx.Response(302, headers={"Location": "http://data.example/x"}))
    with pytest.raises(InputError, match=r"http://data\.example/x: only https"):
        download(URL, target, transport=server.transport)
    assert len(server.asked) == 1


def test_another_size_than_the_recipe_names_is_removed(target: Path) -> None:
    with pytest.raises(InputError, match="10,240 bytes, the recipe says 10,241"):
        download(URL, target, size=len(CONTENT) + 1, transport=_Server(_whole).transport)
    assert list(target.parent.iterdir()) == []


def test_a_file_that_has_changed_since_comes_whole(target: Path) -> None:
    old = b"old " * 2_000

    def breaks_off(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"ETag": '"old"'}, stream=_Body(old[:3_000], httpx.ReadError("reset")))

    def has_changed(request: httpx.Request) -> httpx.Response:
        assert request.headers["Range"] == "bytes=3000-"
        assert request.headers["If-Range"] == '"old"'
        return _whole(request)

    with pytest.raises(UnreachableError):
        download(URL, target, transport=_Server(breaks_off).transport)
    download(URL, target, SHA256, transport=_Server(has_changed).transport)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_a_weak_mark_of_a_version_is_not_asked_for(target: Path) -> None:
    def breaks_off(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"ETag": 'W/"x"'}, stream=_Body(CONTENT[:3_000], httpx.ReadError("reset")))

    with pytest.raises(UnreachableError):
        download(URL, target, transport=_Server(breaks_off).transport)
    server = _Server(_ranges)
    download(URL, target, SHA256, transport=server.transport)
    assert "If-Range" not in server.asked[0].headers


def test_a_file_that_will_not_fit_is_refused_before_it_comes(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_239))
    with pytest.raises(OSError, match="10,240 bytes to come, 10,239 free") as caught:
        download(URL, target, transport=_Server(_whole).transport)
    assert caught.value.errno == errno.ENOSPC
    assert not target.with_name("meta.json.gz.part").exists()


@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=4))
@settings(max_examples=40, deadline=None)
def test_killed_at_any_byte_a_download_goes_on(cuts: list[int]) -> None:
    """The process is gone at each cut, whatever lay on the disk then is what the next run finds."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "meta.json.gz"
        for cut in sorted(cuts):

            def killed(request: httpx.Request, cut: int = cut) -> httpx.Response:
                whole = _ranges(request)
                start = len(CONTENT) - int(whole.headers.get("Content-Length", 0))
                ranges = {"Content-Range": whole.headers.get("Content-Range", "")}
                body = _Body(CONTENT[start:cut], KeyboardInterrupt())
                return httpx.Response(whole.status_code, headers=ranges, stream=body)

            with suppress(KeyboardInterrupt):
                download(URL, target, transport=_Server(killed).transport)
        download(URL, target, SHA256, transport=_Server(_ranges).transport)
        assert target.read_bytes() == CONTENT
        assert [path.name for path in Path(folder).iterdir()] == ["meta.json.gz"]


OLD = bytes(reversed(CONTENT))


def _partial(start: int, rest: bytes, **headers: str) -> httpx.Response:
    said = {"Content-Length": str(len(rest)), "Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return httpx.Response(
        206, headers=said | {name.replace("_", "-"): value for name, value in headers.items()}, stream=_Body(rest)
    )


@pytest.mark.parametrize(
    "answer",
    [
        lambda: _partial(3_000, CONTENT[3_000:], ETag='"new"'),
        lambda: _partial(2_999, CONTENT[2_999:], ETag='"old"'),
        lambda: _partial(3_000, CONTENT[3_000:], ETag='"old"', Content_Range="bytes 3000-9999/99999"),
        lambda: _partial(3_000, CONTENT[3_000:], ETag='"old"', Content_Range="bytes */*"),
        lambda: _partial(3_000, CONTENT[3_000:], ETag='"old"', Content_Length="17"),
    ],
    ids=["another version", "another start", "another total", "no range", "another length"],
)
def test_a_rest_that_may_be_of_another_version_is_not_appended(
    target: Path, answer: Callable[[], httpx.Response]
) -> None:
    _part(target, OLD[:3_000])
    target.with_name("meta.json.gz.part.version").write_text('"old"')
    server = _Server(lambda request: answer() if "Range" in request.headers else _whole(request))
    download(URL, target, transport=server.transport)

    assert target.read_bytes() == CONTENT
    assert server.asked[0].headers["If-Range"] == '"old"'
    assert len(server.asked) == 2


def test_a_part_of_an_unknown_version_is_not_continued(target: Path) -> None:
    _part(target, OLD[:3_000])
    server = _Server(_ranges)
    download(URL, target, transport=server.transport)

    assert target.read_bytes() == CONTENT
    assert "Range" not in server.asked[0].headers


def test_a_part_that_nobody_asked_for_is_no_file(target: Path) -> None:
    server = _Server(lambda _: _partial(3_000, CONTENT[3_000:]))
    with pytest.raises(UnreachableError, match="not asked for"):
        download(URL, target, transport=server.transport)
    assert not target.exists()
