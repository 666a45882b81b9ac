"""The images of pages that the documentation shows: `python benchmarks/screenshots.py`.

    python benchmarks/screenshots.py                      # all of them, into docs/images
    python benchmarks/screenshots.py report_light map     # some, by the names of their files
    python benchmarks/screenshots.py --runs /tmp/shots    # keep the runs there, and reuse those that exist already

The pages are real: `discover.py` scans colored_digits, made of the digits that come with scikit-learn, UDIS clusters
them for the tree, `discover.py compare=[…]` compares both runs, and `browse.py` lists all three. Chromium draws the
pages: light and dark, at the width of a desktop and of a phone, and as printed. Each image is a PNG of at most 256
colours. Look at the images before you commit them.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parents[1]
MOST_BYTES = 200_000
_ON_PAPER = """element => {  // wherever the page is scrolled to
  const { x, y, width, height } = element.getBoundingClientRect();
  return { x: x + scrollX, y: y + scrollY, width, height };
}"""
_DESK, _PHONE = (1200, 1160), (390, 844)


class Pages:
    """Makes the pages that are drawn, each on first use, and gives their addresses.

    Args:
        folder: The folder of the runs.
        until: The exit stack that ends the explorer.
    """

    def __init__(self, folder: Path, until: ExitStack) -> None:
        self._folder, self._until = folder, until

    @cached_property
    def report(self) -> str:
        return self._discover("scan", "report.html")

    @cached_property
    def tree(self) -> str:
        return self._discover("udis", "report.html", "method=udis")

    @cached_property
    def comparison(self) -> str:
        assert self.report
        assert self.tree
        return self._discover("compare", "compare.html", "compare=[runs/scan,runs/udis]")

    @cached_property
    def explorer(self) -> str:
        assert self.comparison  # so that all three are listed
        return self._until.enter_context(browsing(self._folder / "runs"))

    def _discover(self, name: str, page: str, *words: str) -> str:
        """Run `discover.py`, unless its page exists already; return the page's address."""
        run = self._folder / "runs" / name
        if not (run / page).exists():
            # logged offline rather than not at all, so that the page shows the shortest line that makes it
            environment = os.environ | {"PYTHONPATH": str(HERE / "src"), "WANDB_MODE": "offline"}
            # pages show this line, so the folder is a relative path
            line = [sys.executable, str(HERE / "discover.py"), *words, f"hydra.run.dir=runs/{name}"]
            subprocess.run(line, cwd=self._folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        return (run / page).as_uri()


def top(page: Page) -> bytes:
    """Return a screenshot of what a reader sees first."""
    return page.screenshot()


def part(
    selector: str, most: int = 1160, opening: Callable[[Page], None] | None = None
) -> Callable[[Page], bytes]:
    """Return a function that draws one section of a page, at most `most` pixels high from its top."""

    def draw(page: Page) -> bytes:
        if opening is not None:
            opening(page)
        box = page.locator(selector).first.evaluate(_ON_PAPER)
        margin = 24
        left, width = max(box["x"] - margin, 0), box["width"] + 2 * margin
        clip = {
            "x": left,
            "y": box["y"] - margin,
            "width": width,
            "height": min(box["height"] + 2 * margin, most),
        }
        return page.screenshot(full_page=True, clip=clip)

    return draw


def highlight_first_finding(page: Page) -> None:
    """Press the first finding's button beside the map."""
    page.locator("button.highlight").first.click()
    page.wait_for_timeout(1500)


def printed(page: Page) -> bytes:
    """Return the first printed page: A4 with margins of 15 mm, at 96 dots per inch."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1009})
    paper = Image.new("RGB", (794, 1123), "white")
    paper.paste(Image.open(io.BytesIO(page.screenshot())), (57, 57))
    buffer = io.BytesIO()
    paper.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Shot:
    """One image: the page it shows, the size and colours of the window, and the part that is drawn."""

    address: Callable[[Pages], str]
    draw: Callable[[Page], bytes] = top
    size: tuple[int, int] = _DESK
    dark: bool = False


SHOTS: Mapping[str, Shot] = {
    "report": Shot(lambda at: at.report),  # of the README
    "report_light": Shot(lambda at: at.report, part("section.slice", 1500)),
    "report_dark": Shot(lambda at: at.report, dark=True),
    "report_phone": Shot(lambda at: at.report, size=_PHONE),
    "report_print": Shot(lambda at: at.report, printed),
    "map": Shot(lambda at: at.report, part("#map", 1000, highlight_first_finding)),
    "tree": Shot(lambda at: at.tree, part("section.forest", 1000)),
    "compare": Shot(lambda at: at.comparison),
    "explorer": Shot(lambda at: at.explorer, size=(1200, 700)),
}
"""The images, by the names of their files in docs/images."""


@contextmanager
def browsing(folder: Path) -> Iterator[str]:
    """Run `browse.py` on the runs of a folder, and yield its address."""
    environment = os.environ | {"PYTHONPATH": str(HERE / "src"), "PYTHONUNBUFFERED": "1"}
    line = [sys.executable, str(HERE / "browse.py"), f"folders=[{folder.name}]", "port=0", "open=false"]
    with subprocess.Popen(
        line, cwd=folder.parent, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = next((found for text in server.stdout if (found := re.search(r"http://\S+", text))), None)
            if said is None:
                raise SystemExit("browse.py ended before it printed its address")
            yield said[0]
        finally:
            server.terminate()


def draw(
    browser: Browser,
    address: str,
    how: Callable[[Page], bytes] = top,
    size: tuple[int, int] = _DESK,
    dark: bool = False,
) -> bytes:
    """Return the PNG of a page, with as many colours as fit into `MOST_BYTES`."""
    width, height = size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page.goto(address)
    page.wait_for_load_state("networkidle")
    image = Image.open(io.BytesIO(how(page))).convert("RGB")
    page.close()
    for colours in (256, 128, 64, 32):
        buffer = io.BytesIO()
        image.quantize(colours).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(SHOTS)}; all of them by default"
    )
    parser.add_argument(
        "--to", type=Path, default=HERE / "docs" / "images", help="a folder, docs/images by default"
    )
    parser.add_argument("--runs", type=Path, help="a folder that keeps the runs; none are kept by default")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in SHOTS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(SHOTS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = (asked.runs or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        asked.to.mkdir(parents=True, exist_ok=True)
        with ExitStack() as until:
            pages = Pages(folder, until)
            playwright = until.enter_context(sync_playwright())
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for called in asked.names or SHOTS:
                shot = SHOTS[called]
                image = draw(browser, shot.address(pages), shot.draw, shot.size, shot.dark)
                (asked.to / f"{called}.png").write_bytes(image)
                print(f"{called}.png: {len(image) / 1000:.0f} kB", flush=True)
            browser.close()


if __name__ == "__main__":
    main()
