"""The live browser: every report under the folders of runs, newest first, on this machine alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from markupsafe import Markup

from weakspot.findings.comparison import FILE as COMPARISON
from weakspot.findings.comparison import PAGE
from weakspot.findings.record import FILE
from weakspot.report.html import environment, policy_of
from weakspot.report.server import BoundedServer

LOOPBACK = "127.0.0.1"
REPORT = "report.html"


@dataclass(frozen=True)
class Run:
    """One discovery, as its folder says.

    Attributes:
        folder: The run's folder.
        created: When its report was written.
        method, dataset, model: Its words.
        title: The headline of its findings; empty for a run from before there were findings.
        finding: The name of the finding that explains most errors: of the confirmed ones, if there are any.
        verdict: That finding's.
        errors_explained: Likewise.
        n_slices: How many slices the method found.
        page: The name of the file that is shown: a report, or a comparison of two runs.
    """

    folder: Path
    created: datetime
    method: str
    dataset: str
    model: str
    title: str
    finding: str
    verdict: str
    errors_explained: float | None
    n_slices: int
    page: str = REPORT

    @property
    def report(self) -> Path:
        return self.folder / self.page

    @property
    def address(self) -> str:
        """Where the server answers with the report."""
        return "/run/" + hashlib.sha256(str(self.report.absolute()).encode()).hexdigest()[:16]


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs below these folders that left a report and readable slices, or compared two others, newest first.

    What a link leads out of a run's folder to is none of its files.
    """
    readers = {REPORT: _read, PAGE: _read_comparison}
    runs = (
        read(page.parent)
        for folder in folders
        for name, read in readers.items()
        for page in folder.glob(f"**/{name}")
    )
    return sorted((run for run in runs if run is not None), key=lambda run: run.created, reverse=True)


def index(runs: Sequence[Run], folders: Sequence[Path]) -> str:
    """The page that lists the runs; escaped, and without a script."""
    style = files("weakspot.report").joinpath("style.css").read_text(encoding="utf-8")
    template = environment().get_template("index.html.jinja")
    return template.render(runs=runs, folders=folders, style=Markup(style), policy=policy_of([style], []))


def make_server(folders: Sequence[Path], port: int = 0) -> BoundedServer:
    """A server of the reports below these folders: `/` lists them, `/run/<digest>` is one of them."""

    def answer(path: str) -> bytes | None:
        runs = find_runs(folders)
        if path == "/":
            return index(runs, folders).encode()
        asked = next((run for run in runs if run.address == path), None)
        return None if asked is None else _read_page(asked)

    return _server(answer, port)


def make_page_server(page: str, port: int = 0) -> BoundedServer:
    """A server of one page, `/`."""
    return _server(lambda path: page.encode() if path == "/" else None, port)


def _server(answer: Callable[[str], bytes | None], port: int) -> BoundedServer:
    """A server on the loopback interface, ready for `serve_forever`; port 0 takes any free one.

    What `answer` has no page for is not found: no path of a request reaches the file system. Only requests for this
    machine by name are answered, so that no page elsewhere can read reports through a name of its own. Every page has
    an origin of its own: a report put among the runs by someone else cannot read the others.
    """

    class Handler(BaseHTTPRequestHandler):
        server: BoundedServer

        def do_GET(self) -> None:
            self.server.heard(self.request)
            if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in (LOOPBACK, "localhost"):
                self.send_error(HTTPStatus.FORBIDDEN, "only requests to localhost are answered")
                return
            page = answer(self.path)
            if page is None:
                self.send_error(HTTPStatus.NOT_FOUND, "no such run")
            else:
                self._send(page)

        def do_HEAD(self) -> None:
            self.do_GET()  # `_send` leaves out the page

        def _send(self, page: bytes) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Content-Security-Policy", "sandbox allow-scripts allow-popups")
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence: the console is the user's."""

    return BoundedServer((LOOPBACK, port), Handler)


def _own(folder: Path, name: str) -> Path | None:
    """A file of a run, or None where there is none, or a link leads to one that is not in the run's folder."""
    found = Path(os.path.realpath(folder / name))  # of links in a circle, too, which `resolve` refuses
    return found if found.is_file() and found.is_relative_to(os.path.realpath(folder)) else None


def _read_page(run: Run) -> bytes | None:
    try:
        page = _own(run.folder, run.page)
        return None if page is None else page.read_bytes()
    except OSError:  # removed meanwhile, or not ours to read
        return None


def _read(folder: Path) -> Run | None:
    """The run of a folder, or None where neither findings nor slices of ours are in it."""
    try:
        report = _own(folder, REPORT)
        if report is None:
            return None
        created = datetime.fromtimestamp(report.stat().st_mtime).astimezone()
        file = _own(folder, FILE)
        if file is None:
            return _before_findings(folder, created)
        said = json.loads(file.read_text(encoding="utf-8"))
        findings = sorted(said["findings"], key=lambda finding: finding["verdict"] != "confirmed")
        first: dict[str, Any] = findings[0] if findings else {}
        explained = first.get("errors_explained")
        return Run(
            folder,
            created,
            str(said["method"]),
            str(said["dataset"] or "own predictions"),
            str(said["model"]),
            str(said["title"]),
            str(first.get("name", "")),
            str(first.get("verdict", "")).replace("_", " "),
            float(explained) if isinstance(explained, int | float) and isfinite(explained) else None,
            len(said["slices"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _read_comparison(folder: Path) -> Run | None:
    """The comparison of a folder, or None where none of ours is in it."""
    try:
        page, file = _own(folder, PAGE), _own(folder, COMPARISON)
        if page is None or file is None:
            return None
        created = datetime.fromtimestamp(page.stat().st_mtime).astimezone()
        said = json.loads(file.read_text(encoding="utf-8"))
        dataset, model = str(said["after"]["dataset"]), str(said["after"]["model"])
        found = len(said["slices"])
        return Run(folder, created, "compare", dataset, model, str(said["title"]), "", "", None, found, PAGE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _before_findings(folder: Path, created: datetime) -> Run | None:
    file = _own(folder, "slices/slices.json")
    if file is None:
        return None
    header = json.loads(file.read_text(encoding="utf-8"))
    made_from = header["provenance"].get("predictions") or {}
    dataset, model = made_from.get("dataset") or "own predictions", made_from.get("model") or ""
    return Run(
        folder,
        created,
        str(header["method"]),
        str(dataset),
        str(model),
        "",
        "",
        "",
        None,
        len(header["statistics"]),
    )
