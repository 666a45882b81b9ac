"""The reports of the documentation's gallery: `python benchmarks/gallery.py`.

    python benchmarks/gallery.py                  # all of them, into docs/gallery
    python benchmarks/gallery.py digits fashion   # some, by the names of their files
    python benchmarks/gallery.py --runs /tmp/runs # keep the runs there, and reuse those that exist already

Each report is the page that one command writes, complete and unchanged, with an image of what a reader sees first.
Digits come with scikit-learn; the others need data in `data/` (docs/gallery.md says from where), and are left out if
the data are missing. Look at the pages before you commit them.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright
from screenshots import HERE, draw

MOST_BYTES = 2_000_000
_CPU = "training.batch_size=16 num_workers=0 trainer=cpu"
_REVIEWS = (
    "dataset=csv dataset.file=data/reviews.csv model=text_encoder model.name=models/all-minilm-l6-v2 "
    f"training.learning_rate=1e-2 training.epochs=1 {_CPU}"
)


@dataclass(frozen=True)
class Report:
    """One page of the gallery.

    Attributes:
        words: What follows `python discover.py`.
        page: The file that the command writes.
        needs: Folders and files that must exist.
        after: Reports whose runs the command reads.
        kept: Whether the page belongs to the gallery; otherwise its run is only read by another report.
    """

    words: str = ""
    page: str = "report.html"
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    kept: bool = True


REPORTS: Mapping[str, Report] = {
    "digits": Report(),
    "fashion": Report(
        "dataset=fashion_mnist method=udis report.members=8 report.map=none", needs=("data/FashionMNIST/raw",)
    ),
    "reviews": Report(_REVIEWS, needs=("data/reviews.csv", "models/all-minilm-l6-v2")),
    "digits_mended": Report("reweight=runs/digits", after=("digits",), kept=False),
    "mended": Report(
        "compare=[runs/digits,runs/digits_mended]", "compare.html", after=("digits", "digits_mended")
    ),
}
"""The reports, by the names of their files in docs/gallery."""
KEPT = [name for name, report in REPORTS.items() if report.kept]


def run(name: str, folder: Path) -> Path:
    """Run the command of a report below `folder`, unless its page exists already; return the page."""
    report = REPORTS[name]
    for other in report.after:
        run(other, folder)
    page = folder / "runs" / name / report.page
    if not page.exists():
        line = f"discover.py {report.words} logger=none hydra.run.dir=runs/{name}"
        print(f"python {line}", flush=True)
        environment = os.environ | {"PYTHONPATH": str(HERE / "src"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *shlex.split(str(HERE / line))]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(KEPT)}; by default all")
    parser.add_argument(
        "--to", type=Path, default=HERE / "docs" / "gallery", help="a folder, docs/gallery by default"
    )
    parser.add_argument(
        "--runs", type=Path, help="a folder that keeps the runs, with data/ in it; none are kept by default"
    )
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in KEPT]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(KEPT)}")
    asked.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = (asked.runs or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for called in asked.names or KEPT:
            missing = [need for need in REPORTS[called].needs if not (folder / need).exists()]
            if missing:
                print(f"{called}: left out, there is no {', '.join(missing)} in {folder}")
                continue
            page = run(called, folder)
            if page.stat().st_size > MOST_BYTES:
                raise SystemExit(
                    f"{page} has {page.stat().st_size / 1e6:.1f} MB, too much to keep in a repository"
                )
            shutil.copy(page, asked.to / f"{called}.html")
            (asked.to / f"{called}.png").write_bytes(draw(browser, page.as_uri()))
            print(f"{called}.html: {page.stat().st_size / 1000:.0f} kB", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
