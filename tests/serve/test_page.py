"""The page as a browser shows it; skipped where no Chromium is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from mmsc_cli.tables.judgements import FILE, read_judgements, votes_of
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.server import Served

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 60_000


class Seen:
    """A page, and what went on in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        page.set_default_timeout(WAIT)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield running
        running.close()


def _open(browser: Any, *, width: int = 1280, dark: bool = False) -> Seen:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    return Seen(context.new_page())


def test_people_find_an_item_and_look_at_its_answers(browser: Any, served: Served, items: Any) -> None:
    item = next(row for row in items.to_pylist() if row["image_path"])
    expected = served.client.get(f"/v1/items/{item['item_id']}/substitutes").json()["answers"]
    seen = _open(browser)
    page = seen.page
    page.goto(str(served.client.base_url))
    page.get_by_role("searchbox").fill(item["item_id"])
    page.keyboard.press("Enter")
    page.get_by_role("link", name=item["title"]).first.click()
    page.wait_for_selector("#substitute li")

    assert page.locator("#card h1").inner_text() == item["title"]
    titles = page.locator("#substitute li a").all_inner_texts()
    assert len(set(titles) & {answer["title"] for answer in expected}) >= len(titles) // 2
    assert all(page.locator("#complement .why").all_inner_texts())
    page.locator("#filters [name=k]").fill("3")
    page.keyboard.press("Tab")
    page.wait_for_selector("#substitute li:nth-child(4)", state="detached")
    assert page.locator("#substitute li").count() == 3
    page.reload()
    page.wait_for_selector("#substitute li")
    assert page.locator("#substitute li").count() == 3
    assert page.evaluate("[...document.images].every(image => image.alt !== null)")
    page.locator("#known summary").click()
    assert page.locator("#pairs").inner_text()
    assert seen.complaints == []
    assert seen.hosts == {"127.0.0.1"}


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_the_page_reads_well_narrow_dark_and_aloud(
    browser: Any, served: Served, item_ids: list[str], width: int, dark: bool
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    seen = _open(browser, width=width, dark=dark)
    seen.page.goto(f"{served.client.base_url}#item={item_ids[0]}")
    seen.page.wait_for_selector("#complement li")

    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(seen.page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_an_unknown_item_is_said_with_the_nearest_ids(browser: Any, served: Served, item_ids: list[str]) -> None:
    seen = _open(browser)
    seen.page.goto(f"{served.client.base_url}#item={item_ids[0]}X")
    seen.page.wait_for_selector("#status.problem")

    assert item_ids[0] in seen.page.locator("#status").inner_text()


def test_markup_in_titles_is_text(browser: Any, serve_for: Any, tmp_path: Any) -> None:
    from mmsc_cli.index.index_file import write_index
    from mmsc_cli.index.storage import Strings
    from tests.fixtures.hand_made_index import ITEMS, hand_made_tensors

    title = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
    tensors = hand_made_tensors()
    tensors["titles.bytes"], tensors["titles.offsets"] = Strings.pack([title + "\u200b\u202e\U000e0041"] * ITEMS)
    (tmp_path / "index").mkdir()
    write_index(tmp_path / "index", tensors, {"label_models": ["judge"], "channels": ["item", "view"]})
    seen = _open(browser)
    seen.page.goto(f"{serve_for(tmp_path).client.base_url}#item=I00")
    seen.page.wait_for_selector("#substitute li")

    title += "\\u200b\\u202e\\U000e0041"  # what nobody would see
    assert seen.page.locator("#card h1").inner_text() == title
    assert seen.page.locator("#substitute li a").first.inner_text() == title
    assert seen.page.title().startswith("<img")
    assert seen.complaints == []
    assert seen.hosts == {"127.0.0.1"}


def test_people_judge_pairs_by_keys_without_our_opinion(
    browser: Any, serve_for: Any, trained_copy: Workspace, item_ids: list[str]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    seen = _open(browser)
    page = seen.page
    address = serve_for(trained_copy.root).client.base_url
    page.goto(f"{address}#judge")
    page.wait_for_selector("#pair .side")
    with page.expect_response(lambda response: "who=anna" in response.url):
        page.locator("#who").fill("anna")
        page.keyboard.press("Tab")
    page.wait_for_load_state("networkidle")
    text = page.locator("#judge").inner_text()
    page.locator("#choices button").first.focus()
    for key, place in (("s", 2), ("x", 3), ("c", 4), ("n", 5)):
        page.keyboard.press(key)
        page.get_by_text(f"Pair {place} of 20.").wait_for()
    page.locator("#back").click()
    page.get_by_text("Pair 4 of 20.").wait_for()
    page.get_by_role("button", name="One can replace the other").click()
    page.get_by_text("Pair 5 of 20.").wait_for()
    page.locator("#who").focus()
    page.keyboard.type("scn")  # a name, no judgements

    judgements = read_judgements(trained_copy.root / FILE)
    assert judgements["label"].to_pylist() == ["substitute", "complement", "neither", "substitute"]
    assert set(judgements["who"].to_pylist()) == {"anna"}
    assert len(votes_of(judgements, item_ids)) == 3
    assert not any(word in text for word in ("score", "doubts:", "answers:", "random"))
    found = axe.Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    page.reload()
    page.wait_for_selector("#pair .side")
    page.locator("#who").fill("anna")
    page.keyboard.press("Tab")
    page.get_by_text("3 pairs judged by this name.").wait_for()
    assert seen.complaints == []
    assert seen.hosts == {"127.0.0.1"}
