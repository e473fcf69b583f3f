"""The report as a browser lays it out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1400,900",
)
SECTIONS = ["glance", "figures", "degree", "truth", "ablation", "training", "gallery", "sampled", "reading"]
# Looks into a frame of the width asked for: a browser's own window has a least width.
FRAME = """<!doctype html><body><iframe style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const right = element => element.getBoundingClientRect().right;
  const bars = [...page.querySelectorAll(".bar")], images = [...page.images];
  document.body.textContent = "@@" + JSON.stringify({{
    inner: root.clientWidth,
    scroll: root.scrollWidth,
    sections: [...page.querySelectorAll("section")].filter(part => part.offsetHeight > 40).map(part => part.id),
    images: images.length,
    broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    charts: [...page.querySelectorAll(".chart")].map(chart => chart.getBoundingClientRect().width),
    bars: bars.length,
    escaped: bars.filter(bar => right(bar) > right(bar.parentElement) + 1).length,
    ground: page.defaultView.getComputedStyle(page.body).backgroundColor,
    ink: page.defaultView.getComputedStyle(page.body).color,
  }}) + "@@";
}}
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    """A Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def _lay_out(browser: str, page: str, width: int, folder: Path, *, dark: bool = False) -> dict[str, Any]:
    """Measure a page in a frame of some width."""
    file = folder / "frame.html"
    file.write_text(FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [browser, *QUIET, scheme, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    measured = re.search(r"@@(.*)@@", ran.stdout)
    assert measured, ran.stderr[-2_000:]
    found: dict[str, Any] = json.loads(html.unescape(measured[1]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280])
def test_the_report_fits_a_phone_and_a_desk(browser: str, rendered: str, tmp_path: Path, width: int) -> None:
    found = _lay_out(browser, rendered, width, tmp_path)
    assert found["inner"] == width
    assert found["scroll"] == width, "only tables may be wider than the page, each in its own box"
    assert found["sections"] == SECTIONS
    assert found["images"] > 20
    assert found["broken"] == 0
    assert len(found["charts"]) == 4
    assert all(250 < chart <= width for chart in found["charts"])
    assert found["bars"] == 5 * 5 * 2, "models, slices, relations"
    assert found["escaped"] == 0


@pytest.mark.slow
def test_the_report_follows_the_reader_into_the_dark(browser: str, rendered: str, tmp_path: Path) -> None:
    light, dark = (_lay_out(browser, rendered, 400, tmp_path, dark=dark) for dark in (False, True))
    assert _brightness(light["ground"]) > 240 > 60 > _brightness(light["ink"])
    assert _brightness(dark["ground"]) < 60 < 200 < _brightness(dark["ink"])


def _brightness(colour: str) -> float:
    """Mean of the channels of `rgb(r, g, b)`, 0 to 255."""
    return sum(map(int, re.findall(r"\d+", colour))) / 3
