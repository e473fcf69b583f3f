"""What a catalogue, a recipe or a server says, on a terminal and in a spreadsheet; and what must not be said."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

import mmsc_cli
from mmsc_cli.cli.failures import describe
from mmsc_cli.cli.output import Output, as_json, as_tsv
from mmsc_cli.errors import InputError
from mmsc_cli.index.index_file import write_index
from mmsc_cli.index.storage import Strings
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.runtime.redaction import recorded_address, redact
from mmsc_cli.runtime.visible import HIDDEN as ALL_HIDDEN
from mmsc_cli.runtime.visible import UNSAFE, visible
from mmsc_cli.workspace.workspace import Workspace
from tests.faults.stranger import seal_again

if TYPE_CHECKING:
    from tests.conftest import Mmsc

# Clears the screen, sets the window's title, turns text round, ends a line for some readers, is half of a character.
STEERING = "A\x1b[2J\x1b]0;owned\x07\x9b31m\u202eB\u2066\u200f\u2028C\ud800\r\n\tD [bold]E[/]"
MARKS = set("\x1b\x07\x9b\u202e\u2066\u200f\u2028\ud800\r")
PASSWORD, SIGNATURE, KEY = "pass-word", "s1gnature", "sk-0123456789"
ADDRESS = f"https://user:{PASSWORD}@shop.example/meta.json.gz?X-Signature={SIGNATURE}"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def _terminal() -> Iterator[_Terminal]:
    """What is written to stdout and stderr, both of which are a terminal."""
    shown = _Terminal()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        yield shown


def _less_of_rich(shown: str) -> str:
    """Without what Rich itself writes to draw: styles, and the ways of a bar's cursor."""
    return re.sub(r"\x1b\[[\d;]*m|\x1b\[\?25[hl]|\x1b\[2K|\x1b\[1A|\r", "", shown)


def test_a_table_on_a_terminal_shows_text_as_text() -> None:
    with _terminal() as terminal:
        Output().table(["rank", "title"], [[1, STEERING]], title=STEERING)

    shown = _less_of_rich(terminal.getvalue())
    assert not MARKS & set(shown)
    assert "[bold]E[/]" in shown, "no markup either"


# What titles hold that look like others, and read from the right.
MARKED = "\u200b\u202e\U000e0041"
MARKS_OF_DISGUISE = set(MARKED)
HIDDEN = [
    "\u202e",
    "\u2066",
    "\u200f",
    "\u061c",
    "\u200b",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u200d",
    "\u034f",
    "\u3164",
    "\U000e0041",
    "\U000e0101",
    "\ufe00",
    "\ufe0f",
    "\U0001bca0",
    "\U0001d173",
]


JOINED = ["می‌خواهم", "क्‍ष", "👩‍💻", "👩🏽‍🔬", "❤️", "❤️‍🔥", "1️⃣", "naïve café"]
# Between letters that nothing joins, or more of them than anything needs: what could hide a message.
HIDING = ["п\u200dр", "漢\u200c字", "क\u200d\u200cष", "漢\ufe00", "ab\ufe0f", "1\ufe0f", "❤\ufe0f\ufe0f"]


@pytest.mark.parametrize("mark", HIDDEN)
def test_what_has_no_width_is_shown_in_every_form_for_eyes(tmp_path: Path, mark: str) -> None:
    from mmsc_cli.cli.app import run_command

    escape = f"\\u{ord(mark):04x}" if mark <= "\uffff" else f"\\U{ord(mark):08x}"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "pay{mark}pal"\n', encoding="utf-8")
    with _terminal() as terminal:
        Output().table(["rank", "title"], [[1, f"pay{mark}pal"]], title=f"pay{mark}pal")
        Output().note(f"pay{mark}pal")
        run_command(["recipes", "show", str(recipe)])
    lines = [*terminal.getvalue().splitlines(), *describe(InputError(f"pay{mark}pal", hint=f"pay{mark}pal"))]
    told = [line for line in lines if "pay" in line]

    assert len(told) == 6
    assert all(f"pay{escape}pal" in line for line in told)
    assert mark in as_tsv([f"pay{mark}pal"]) or UNSAFE.search(mark), "TSV is for programs"


@pytest.fixture
def disguised(golden: Workspace) -> Workspace:
    """A workspace in which every title, brand and category holds marks that nobody sees."""
    items = pq.read_table(golden.path("items.parquet"))
    for name in ("title", "brand"):
        texts = pa.array([f"pay{MARKED}pal {number}" for number in range(len(items))])
        items = items.set_column(items.schema.get_field_index(name), items.schema.field(name), texts)
    paths = pa.array([[f"pay{MARKED}pal"]] * len(items))
    items = items.set_column(items.schema.get_field_index("category"), items.schema.field("category"), paths)
    pq.write_table(items, golden.path("items.parquet"))
    index = golden.path("index")
    tensors = {name: np.array(value) for name, value in load_file(index / "index.safetensors").items()}
    count = len(tensors["titles.offsets"]) - 1
    tensors["titles.bytes"], tensors["titles.offsets"] = Strings.pack([f"pay{MARKED}pal {n}" for n in range(count)])
    write_index(index, tensors, json.loads((index / "index.json").read_bytes()))
    seal_again(golden)
    return golden


@pytest.mark.parametrize(
    "command",
    [
        "show G000 -w {0}",
        "show --title pal -w {0}",
        "infer G000 -w {0}",
        "infer G000 --explain -w {0}",
        "infer G000 --columns brand,category -w {0}",
        "infer --novel G000 -w {0}",
        "judge -n 2 -w {0}",
        "label --dry-run --model example -w {0}",
        "diff {0} {0}",
        "doctor -w {0}/pay\u202epal",
        "init {0}/../pay\u200bpal.csv",
        "check {0}/../pay\u200bpal.csv",
    ],
)
def test_no_command_hides_anything_on_a_terminal(
    disguised: Workspace, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from mmsc_cli.cli.app import run_command

    (disguised.root.parent / "pay\u200bpal.csv").write_text("session,item,type\ns,A,view\ns,B,view\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"q\n")))
    with _terminal() as terminal:
        run_command(command.format(disguised.root).split())

    said = _less_of_rich(terminal.getvalue())
    assert not MARKS_OF_DISGUISE & set(said)
    # A prompt is without the marks, as the model gets it; what changed from a table to itself is nothing.
    assert command.split()[0] in ("diff", "label") or re.search(r"pay\s*\\u20", said), said


def test_the_page_of_a_server_shows_the_same_marks_as_a_terminal() -> None:
    page = (Path(mmsc_cli.__file__).parent / "serve" / "page" / "ask.js").read_text(encoding="utf-8")
    found = re.search(r"const HIDDEN =\s+/(.+)/gu;", page)
    assert found is not None
    pattern = re.compile(re.sub(r"\\u\{(\w+)\}", lambda mark: f"\\U{mark[1]:0>8}", found[1]))
    every = [chr(code) for code in range(0x110000)]

    assert [mark for mark in every if pattern.search(mark)] == [mark for mark in every if ALL_HIDDEN.search(mark)]
    for text in ("a\u200db", "a\u200d\u0915", "\u0915\u200d\u0915", *HIDING, *JOINED):
        assert bool(pattern.search(text)) == bool(ALL_HIDDEN.search(text))


@pytest.mark.parametrize("text", JOINED)
def test_joiners_that_a_script_needs_stay(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("text", HIDING)
def test_joiners_and_selectors_that_no_script_needs_are_shown(text: str) -> None:
    assert "\\u" in visible(text)


def test_tsv_and_json_hold_one_line_each() -> None:
    assert not MARKS & set(as_tsv([STEERING, "x"]))
    assert len(as_tsv([STEERING, "x"]).splitlines()) == 1
    assert as_tsv([STEERING, "x"]).count("\t") == 1
    assert not MARKS & set(as_json({"title": STEERING}))
    assert len(as_json({"title": STEERING}).splitlines()) == 1
    assert json.loads(as_json({"title": STEERING})) == {"title": STEERING}


def test_logs_errors_and_bars_on_stderr_show_text_as_text() -> None:
    from mmsc_cli.cli.progress_bars import RichProgress

    with _terminal() as terminal:
        out = Output()
        out.note(STEERING)
        logging.getLogger("mmsc_cli").warning("%s", STEERING)
        with RichProgress(out.console()).task(f"Reading {STEERING}", 2) as task:
            task.advance()

    shown = _less_of_rich(terminal.getvalue())
    assert "Reading A" in shown
    assert not MARKS & set(shown)
    assert not MARKS & set("".join(describe(InputError(STEERING, hint=STEERING))))


@pytest.mark.parametrize("command", ["doctor", "doctor --json", "train", "recipes show", "infer --item"])
def test_what_is_typed_cannot_steer_the_terminal(mmsc: Mmsc, tmp_path: Path, command: str) -> None:
    words = command.split()
    typed = [*words, STEERING] if words[-1] in ("show", "--item") else words
    ran = mmsc(*typed, "-w", str(tmp_path / "x\x1b[2J\u202e"))

    assert not MARKS & set(ran.out + ran.err)


def test_a_strangers_recipe_can_be_looked_at(tmp_path: Path) -> None:
    from mmsc_cli.cli.app import run_command

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'# \u202etxet\n\tname = "{STEERING[:10]}"\n', encoding="utf-8")
    with _terminal() as terminal:
        assert run_command(["recipes", "show", str(recipe)]) == 0

    assert not MARKS & set(terminal.getvalue())
    assert "\\u202etxet\n\tname" in terminal.getvalue()


def test_a_recipe_that_goes_into_a_file_stays_as_it_is(mmsc: Mmsc, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("# \u202etxet\n", encoding="utf-8")

    assert mmsc("recipes", "show", recipe).out == "# \u202etxet\n"
    recipe.write_bytes(b"\xff")
    assert mmsc("recipes", "show", recipe).code == 2


def test_a_traceback_is_visible_and_holds_no_secret(mmsc: Mmsc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours, exit code 70, with and without the traceback."""

    def examine(*_: object, **__: object) -> None:
        try:
            raise OSError(f"no answer from {ADDRESS}")
        except OSError as error:
            raise RuntimeError(f"{STEERING} {KEY} {ADDRESS}") from error

    monkeypatch.setattr("mmsc_cli.upkeep.doctor.examine", examine)
    monkeypatch.setenv("MMSC_API_KEY", KEY)
    for debug in ("0", "1"):
        monkeypatch.setenv("MMSC_DEBUG", debug)
        ran = mmsc("doctor", "--json")

        assert ran.code == 70
        assert ("Traceback" in ran.err) == (debug == "1")
        assert "RuntimeError" in ran.err
        assert "shop.example/meta.json.gz" in ran.err
        for secret in (PASSWORD, SIGNATURE, KEY):
            assert secret not in ran.out + ran.err
        assert not MARKS & set(ran.err)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ADDRESS, "https://***@shop.example/meta.json.gz?***"),
        ("see http://a.example/x?y=1, and <https://b.example>", "see http://a.example/x?*** and <https://b.example>"),
        ("http://user@h:1/", "http://***@h:1/"),
        ("http://proxy:p@ss@h:1/", "http://***@h:1/"),
        ("who? me@home.example", "who? me@home.example"),
    ],
)
def test_addresses_are_shown_without_what_they_carry(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_signed_address_is_recorded_by_a_hash(mmsc: Mmsc, tmp_path: Path) -> None:
    """Another signature is another address, so that `run` notices; but nobody can read it."""
    signed = f"https://shop.example/meta.json.gz?sig={SIGNATURE}"
    assert SIGNATURE not in recorded_address(signed)
    assert recorded_address(signed) != recorded_address(signed + "x")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "x"\n[source]\nkind = "amazon"\nurl = "{signed}"\n', encoding="utf-8")
    meta = tmp_path / "meta.json"
    meta.write_text('{"asin": "A", "also_buy": ["B"]}\n{"asin": "B"}\n', encoding="utf-8")
    ran = mmsc("prepare", recipe, "--input", meta, "-w", tmp_path / "w", "--json", "-v")

    assert ran.code == 0, ran.err
    manifest = (tmp_path / "w" / "manifest.json").read_text(encoding="utf-8")
    assert "https://shop.example/meta.json.gz?" in manifest
    assert SIGNATURE not in manifest + ran.out + ran.err


def test_an_address_with_a_password_is_refused_and_not_repeated(mmsc: Mmsc, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "x"\n[source]\nkind = "amazon"\nurl = "{ADDRESS}"\n', encoding="utf-8")
    for typed in (["prepare", recipe], ["prepare", "amazon-toys", "--set", f"source.url={ADDRESS}"]):
        ran = mmsc(*typed, "-w", tmp_path / "w", "-v", "--json")

        assert ran.code == 2
        assert "password" in ran.err
        assert "--input" in ran.err
        assert PASSWORD not in ran.out + ran.err
        assert SIGNATURE not in ran.out + ran.err
    with pytest.raises(InputError) as caught:
        load_recipe(str(recipe))
    assert PASSWORD not in str(caught.value.message)


def test_a_log_in_json_redacts_what_stands_beside_the_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMSC_API_KEY", 'sk-"secret"-1234567890')
    out = Output(log_format="json", command="serve")
    out.note("GET", path='/v1/items/sk-"secret"-1234567890', url="https://images.example/a?token=7")
    written = capsys.readouterr().err

    assert json.loads(written)["path"] == "/v1/items/***"
    assert "1234567890" not in written
    assert "token=7" not in written


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("https://x.example")'])
def test_a_formula_in_a_title_stays_as_it_is(cell: str) -> None:
    """TSV is read by programs, which must get what the catalogue says; docs/asking.md warns of spreadsheets."""
    assert as_tsv(["A", cell]) == f"A\t{cell}\n"
    asking = (Path(__file__).parents[2] / "docs" / "asking.md").read_text(encoding="utf-8")
    assert "formula" in asking


def test_line_ends_and_tabs_are_all_that_stays() -> None:
    assert visible("a\tb\nc\x1b[2J\r\u2028") == "a\tb\nc\\u001b[2J\\u000d\\u2028"
