"""The documentation's own code; that the site builds is checked by `make docs`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from docs.remote_loads import remote_loads

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        '<img alt="" src="HTTP://example.org/a.png">',
        '<pre class="mermaid">graph TD</pre>',
        "@import 'https://example.org/a.css';",
        "body { background: url(https://example.org/a.png) }",
    ],
)
def test_what_a_page_loads_from_other_hosts_is_found(text: str) -> None:
    assert len(remote_loads(text)) == 1


def test_links_to_click_and_files_of_the_site_are_fine() -> None:
    page = '<a href="https://example.org/">there</a><script src="assets/a.js"></script><p>see https://example.org</p>'

    assert remote_loads(page) == []
    assert remote_loads("body { background: url(data:image/svg+xml;utf8,<svg/>) }") == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_between_the_pages_of_the_project_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_promise_of_the_security_page_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = [line for line in text.split("What is done, and its test")[1].splitlines() if line.startswith("| ")][2:]

    assert len(promises) > 40
    for promise in promises:
        named = re.findall(r"`(tests/[\w/*]+\.py)(?:::(\w+\*?))?`", promise)
        assert named, promise
        assert promise.count("::") == sum(bool(test) for _, test in named), promise
        for path, test in named:
            files = list(ROOT.glob(path))
            assert files, path
            wanted = rf"def {test.removesuffix('*')}" + ("" if test.endswith("*") else r"\(") if test else ""
            assert re.search(wanted, files[0].read_text(encoding="utf-8")), (path, test)


def test_every_import_that_a_page_shows_works() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    shown = [
        (page.name, module, name.strip())
        for page in pages
        for module, names in re.findall(r"^from (mmsc_cli\S*) import (.+)$", page.read_text(encoding="utf-8"), re.M)
        for name in names.split(",")
    ]

    assert len(shown) > 5
    for page_name, module, name in shown:
        assert hasattr(importlib.import_module(module), name), (page_name, module, name)


def test_every_script_and_module_that_a_page_names_exists() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`([\w/]+/\w+\.(?:py|sh)|mmsc_cli/[\w/]+)`", text):
            assert (ROOT / path).exists() or (ROOT / "mmsc_cli" / path).exists(), (page.name, path)
        for module in re.findall(r"python -m ((?:mmsc_cli|benchmarks|tests)[\w.]*)", text):
            assert importlib.util.find_spec(module), (page.name, module)
