"""What `mmsc infer` makes of questions that cannot be used: the others are answered, and nothing crashes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmsc_cli.workspace.workspace import Workspace


def _infer(workspace: Workspace, *options: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "mmsc_cli", "infer", "-w", str(workspace.root), "-k", "1", *options]
    ran = subprocess.run(
        [*command, "--relation", "substitute"], input=stdin, capture_output=True, check=False, timeout=120
    )
    assert b"Traceback" not in ran.stderr
    assert b"internal error" not in ran.stderr
    return ran


def _queries(ran: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [line.split("\t")[0] for line in ran.stdout.decode().splitlines()[1:]]


def test_every_kind_of_bad_line_at_once(trained: Workspace, item_ids: list[str]) -> None:
    first, second = item_ids[:2]
    lines = [first.encode(), b"", b"A\0B", b"caf\xe9", b"x" * 2_000_000, b"\x1b[31mRED", second.encode()]
    ran = _infer(trained, "--items-from", "-", stdin=b"\n".join(lines))
    told = ran.stderr.decode()

    assert ran.returncode == 3
    assert _queries(ran) == [first, second]
    for number, words in ((3, "NUL"), (4, "not UTF-8"), (5, "longer than"), (6, "unknown item")):
        assert f"mmsc: stdin:{number}: " in told
        assert words in told
    assert "empty lines passed over: 1" in told
    assert "\x1b" not in told
    assert len(told) < 3_000


@pytest.mark.parametrize("header", ['"item_id"', "Art.-Nr.", "Product ID"])
def test_lists_of_ids_as_spreadsheets_write_them(trained: Workspace, item_ids: list[str], header: str) -> None:
    first, second = item_ids[:2]
    ran = _infer(trained, "--items-from", "-", stdin=f'{header}\n"{first}"\n="{second}"\n'.encode())
    assert (ran.returncode, _queries(ran)) == (0, [first, second])
    assert b"stdin:1: passed over as the names of columns" in ran.stderr

    asked = [sys.executable, "-m", "mmsc_cli", "infer", "-w", str(trained.root), "--pairs", "-"]
    judged = subprocess.run(asked, input=f'a,b\n"{first}",{second}\n'.encode(), capture_output=True, check=False)
    assert (judged.returncode, _queries(judged)) == (0, [first])


def test_an_id_in_another_case_or_with_other_zeros_is_asked_back(trained: Workspace, item_ids: list[str]) -> None:
    wanted = item_ids[0]
    zeros = re.sub(r"(?=\d)", "00", wanted, count=1).lower()
    for slip in (wanted.swapcase(), f" {wanted} ", zeros):
        ran = _infer(trained, "--item", slip)
        assert ran.returncode == 3
        assert f"  did you mean {wanted}?" in ran.stderr.decode().splitlines()


def test_lines_that_cannot_be_used_end_with_one(trained: Workspace, item_ids: list[str]) -> None:
    ran = _infer(trained, "--items-from", "-", stdin=f"{item_ids[0]}\nA\0B\n{item_ids[1]}\n".encode())

    assert (ran.returncode, _queries(ran)) == (1, item_ids[:2])


@pytest.mark.parametrize(("bad", "code"), [(b"A\0B", 2), (b"NOWHERE", 3)])
def test_strict_ends_at_the_first(trained: Workspace, item_ids: list[str], bad: bytes, code: int) -> None:
    lines = b"\n".join([item_ids[0].encode(), bad, item_ids[1].encode()])
    ran = _infer(trained, "--items-from", "-", "--strict", stdin=lines)

    assert (ran.returncode, _queries(ran)) == (code, item_ids[:1])
    assert b"mmsc: stdin:2: " in ran.stderr


def test_new_items_that_are_none(trained: Workspace) -> None:
    lines = [
        b'{"id": "first", "title": "black camera"}',
        b"{broken",
        b'{"title": 7}',
        b'{"title": "x\0y"}',
        b"[1, 2]",
        b"null",
        b'{"title": "' + b"x" * 2_000_000 + b'"}',
        b'{"id": "last\\u001b[31m", "title": "tent \\u001b[31m\\u0000", "price": 10}',
    ]
    ran = _infer(trained, "--new", "-", stdin=b"\n".join(lines))
    told = ran.stderr.decode()

    assert ran.returncode == 1
    assert _queries(ran) == ["first", "last [31m"]
    assert [f"stdin:{number}: " in told for number in range(1, 9)] == [False, *[True] * 6, False]
    assert b"\x1b" not in ran.stdout + ran.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_line_of_a_hundred_megabytes_takes_no_such_memory(trained: Workspace, item_ids: list[str]) -> None:
    # The resource module would tell the peak of the process that started this one, where that is higher.
    code = (
        "import re, sys; from pathlib import Path; from mmsc_cli.cli.app import run_command; "
        "code = run_command(sys.argv[1:]); status = Path('/proc/self/status').read_text(); "
        "sys.stderr.write('peak ' + re.search(r'VmHWM:\\s+(\\d+)', status)[1]); sys.exit(code)"
    )
    asked = ["infer", "-w", str(trained.root), "-k", "1", "--items-from", "-"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        for _ in range(100):
            process.stdin.write(b"x" * 1_000_000)
        out, err = process.communicate(b"\n" + item_ids[0].encode() + b"\n")

    assert process.returncode == 1
    assert b"stdin:1: longer than 1,048,576 bytes" in err
    assert item_ids[0].encode() in out
    assert int(err.rpartition(b"peak ")[2]) < 200_000


@pytest.mark.parametrize(
    "options", [["--items-from", "-"], ["--new", "-"], ["--pairs", "-"], ["--in-stock", "-", "--all"]]
)
def test_nothing_to_read(trained: Workspace, options: list[str]) -> None:
    ran = _infer(trained, *options)
    closed = subprocess.run(
        [
            "sh",
            "-c",
            'exec "$@" <&-',
            "sh",
            sys.executable,
            "-m",
            "mmsc_cli",
            "infer",
            "-w",
            str(trained.root),
            *options,
        ],
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert (ran.returncode, _queries(ran)) == (0, [])
    assert closed.returncode == 2
    assert b"stdin is closed" in closed.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_an_output_that_is_closed(trained: Workspace, item_ids: list[str], closed: str) -> None:
    command = [
        sys.executable,
        "-m",
        "mmsc_cli",
        "infer",
        "-w",
        str(trained.root),
        "--item",
        item_ids[0],
        "--item",
        "NONE",
    ]
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, check=False, timeout=120
    )

    assert b"Traceback" not in ran.stderr
    assert ran.returncode == (3 if closed == "2>&-" else 2)


def test_a_file_without_room(trained: Workspace, item_ids: list[str]) -> None:
    command = [sys.executable, "-m", "mmsc_cli", "infer", "-w", str(trained.root), "--item", item_ids[0]]
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=120)

    assert ran.returncode == 2
    assert b"the disk is full" in ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "options", [["--all", "--format", "jsonl"], ["--all", "--format", "parquet"], ["--all", "--json"]]
)
def test_a_reader_of_the_whole_table_may_leave(trained: Workspace, options: list[str]) -> None:
    command = [sys.executable, "-m", "mmsc_cli", "infer", "-w", str(trained.root), "-k", "290", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["index.safetensors", "index.json"])
def test_a_truncated_index(trained_copy: Workspace, item_ids: list[str], name: str) -> None:
    path = trained_copy.path(f"index/{name}")
    path.write_bytes(path.read_bytes()[:-100])
    ran = _infer(trained_copy, "--item", item_ids[0])

    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"damaged" in ran.stderr
    assert b"mmsc train" in ran.stderr


def test_an_index_of_another_model(trained_copy: Workspace, item_ids: list[str]) -> None:
    trained_copy.path("manifest.json").unlink()  # which would find it first
    path = trained_copy.path("index/index.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"model": "another"}))
    ran = _infer(trained_copy, "--item", item_ids[0])

    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"two models" in ran.stderr
