"""The report as a browser lays it out, prints it and reads it aloud."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SECTIONS = ["glance", "lists", "degree", "truth", "ablation", "training", "gallery", "sampled", "reading"]
MEASURE = """() => {
  const root = document.documentElement, right = element => element.getBoundingClientRect().right;
  const bars = [...document.querySelectorAll(".bar")], images = [...document.images];
  return {
    scroll: root.scrollWidth,
    height: root.scrollHeight,
    sections: [...document.querySelectorAll("section")].filter(part => part.offsetHeight > 40).map(part => part.id),
    images: images.length,
    broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    charts: [...document.querySelectorAll(".chart")].map(chart => chart.getBoundingClientRect().width),
    bars: bars.length,
    escaped: bars.filter(bar => right(bar) > right(bar.parentElement) + 1).length,
    ground: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
  };
}"""

pytestmark = pytest.mark.slow


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


def _open(browser: Any, rendered: str, folder: Path, *, width: int = 1280, dark: bool = False) -> Any:
    file = folder / "report.html"
    file.write_text(rendered, encoding="utf-8")
    page = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    ).new_page()
    page.on("console", lambda message: pytest.fail(message.text))
    page.goto(file.as_uri())
    return page


@pytest.mark.parametrize(("width", "height"), [(400, 14_000), (1280, 6_000)])
def test_the_report_fits_a_phone_and_a_desk(
    browser: Any, rendered: str, tmp_path: Path, width: int, height: int
) -> None:
    found = _open(browser, rendered, tmp_path, width=width).evaluate(MEASURE)
    assert found["scroll"] == width, "only tables may be wider than the page, each in its own box"
    assert found["height"] <= height
    assert found["sections"] == SECTIONS
    assert found["images"] > 12
    assert found["broken"] == 0
    assert len(found["charts"]) == 4
    assert all(250 < chart <= width for chart in found["charts"])
    assert found["bars"] == 4 * 5 * 2, "models, slices, relations"
    assert found["escaped"] == 0


def test_the_report_follows_the_reader_into_the_dark(browser: Any, rendered: str, tmp_path: Path) -> None:
    light, dark = (_open(browser, rendered, tmp_path, dark=dark).evaluate(MEASURE) for dark in (False, True))
    assert _brightness(light["ground"]) > 240 > 60 > _brightness(light["ink"])
    assert _brightness(dark["ground"]) < 60 < 200 < _brightness(dark["ink"])


@pytest.mark.parametrize("dark", [False, True])
def test_the_report_can_be_read_aloud_and_by_keyboard(browser: Any, rendered: str, tmp_path: Path, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = _open(browser, rendered, tmp_path, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_the_report_prints_on_few_pages(browser: Any, rendered: str, tmp_path: Path) -> None:
    printed = _open(browser, rendered, tmp_path).pdf(format="A4")
    assert 2 < len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8


def _brightness(colour: str) -> float:
    """Mean of the channels of `rgb(r, g, b)`, 0 to 255."""
    return sum(map(int, re.findall(r"\d+", colour))) / 3
