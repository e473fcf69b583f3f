"""Writes docs/images/page.png: the page of `mmsc serve` over the workspace `demo`, as Chromium shows it.

python docs/make_screenshot.py           after `make demo`; needs Chromium, and the dependency group `test`
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PICTURE = Path(__file__).with_name("images") / "page.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
ITEM = "D2G7E8M117"  # a tent of the demo shop, which is the same everywhere


def main(workspace: str = "demo") -> None:
    """Serve the workspace, and take the picture."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only this script needs it

    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None) or sys.exit("no Chromium is installed")
    command = [sys.executable, "-m", "mmsc_cli", "serve", "-w", workspace, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stderr is not None
        address = next(found[1] for line in server.stderr if (found := re.search(r" at (http://\S+)", line)))
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}#item={ITEM}")
        page.wait_for_selector("#complement li")
        page.wait_for_load_state("networkidle")
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
