"""The runs below some folders, as their files say: nothing else is read, whatever a link or a file leads to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

from weakspot.findings.comparison import FILE as COMPARISON
from weakspot.findings.comparison import PAGE
from weakspot.findings.record import FILE, MAP, MEMBERSHIPS
from weakspot.legible import as_utf8
from weakspot.pipeline.discover import REPORT
from weakspot.pipeline.runs import SLICES

_LONGEST = 300  # characters of a value in the list
_LONGEST_COMMAND = 10_000


@dataclass(frozen=True)
class Run:
    """One discovery, or a comparison of two, as its folder says.

    Attributes:
        folder: The run's folder.
        created: When its page was written.
        method, dataset, model: Its words.
        title: The headline of its findings; empty for a run from before there were findings.
        finding: The name of the finding that explains most errors: of the confirmed ones, if there are any.
        verdict: That finding's.
        errors_explained: Likewise.
        n_slices: How many slices the method found.
        page: The name of the file that is shown: a report, or a comparison of two runs.
        command: The line that was typed.
        seed: Of the method; empty where it has none.
        settings: The method's, as text.
        clusters: How many nodes its cluster tree has.
        weights: The end of the path of the checkpoint that was audited; empty where none is known.
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
    command: str = ""
    seed: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    clusters: int = 0
    weights: str = ""

    @property
    def report(self) -> Path:
        return self.folder / self.page

    @property
    def compares(self) -> bool:
        """Whether it is a comparison of two runs."""
        return self.page == PAGE

    @property
    def digest(self) -> str:
        """What the server knows it by: no path of a request ever reaches the file system."""
        return hashlib.sha256(os.fsencode(self.report.absolute())).hexdigest()[:16]

    @property
    def address(self) -> str:
        """Where the server answers with its page."""
        return f"/run/{self.digest}/report"


class Runs:
    """The runs below some folders; what has not changed on the disk is not read again.

    Args:
        folders: They, and the folders of runs in them, are all that is read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._pages: dict[Path, Callable[[Path], Run | None]] = {}  # and what reads the run of each
        self._known: dict[Path, tuple[Any, Run | None]] = {}
        self._page_of: dict[str, Path] = {}
        self._lock = Lock()

    def all(self) -> list[Run]:
        """Every run that left a report and readable findings, or compared two others, newest first."""
        pages = dict(_pages(self.folders))
        with self._lock:
            self._pages = pages
            found = [self._of(page) for page in pages]
            self._known = {page: known for page, known in self._known.items() if page in pages}
            runs = {run.digest: run for run in found if run is not None}
            self._page_of = {digest: run.report for digest, run in runs.items()}
        return sorted(runs.values(), key=lambda run: run.created, reverse=True)

    def find(self, digest: str) -> Run | None:
        """The run of a digest; the folders are gone through only where it is not known yet."""
        with self._lock:
            page = self._page_of.get(digest)
            if page is not None:
                return self._of(page)
        return next((run for run in self.all() if run.digest == digest), None)

    def holds(self, path: Path) -> bool:
        """Whether a file or folder lies in the folders, wherever links on the way to it lead."""
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(os.path.realpath(folder)) for folder in self.folders)

    def _of(self, page: Path) -> Run | None:
        stamp = [_stamp(page.with_name(name)) for name in (page.name, FILE, COMPARISON)]
        known = self._known.get(page)
        if known is None or known[0] != stamp:
            read = self._pages.get(page)  # none, where another request has found the page gone
            known = self._known[page] = stamp, None if read is None else read(page.parent)
        return known[1]


def own(folder: Path, name: str) -> Path | None:
    """A file of a run, or None where there is none, or a link leads to one that is not in the run's folder."""
    found = Path(os.path.realpath(folder / name))  # of links in a circle, too, which `resolve` refuses
    return found if found.is_file() and found.is_relative_to(os.path.realpath(folder)) else None


def check_own(folder: Path) -> None:
    """Raise ValueError where a file of a run, of its findings or its slices, leads out of its folder."""
    slices = (f"{SLICES}/{file.name}" for file in (folder / SLICES).glob("*"))
    for name in (FILE, MEMBERSHIPS, MAP, *slices):
        if os.path.lexists(folder / name) and own(folder, name) is None:
            raise ValueError(f"{folder / name} leads out of the run's folder, so it is not read")


def page_of(run: Run) -> bytes | None:
    """The report or comparison of a run; None where it is gone meanwhile, or not ours to read."""
    try:
        page = own(run.folder, run.page)
        return None if page is None else page.read_bytes()
    except OSError:
        return None


def _pages(folders: Sequence[Path]) -> Iterator[tuple[Path, Callable[[Path], Run | None]]]:
    """Reports and comparisons below the folders; a folder that goes while they are listed is no matter."""
    readers = {REPORT: _read, PAGE: _read_comparison}
    return (
        (Path(place, name), read)
        for folder in folders
        for place, _, files in os.walk(folder)
        for name, read in readers.items()
        if name in files
    )


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size


def _read(folder: Path) -> Run | None:
    """The run of a folder, or None where neither findings nor slices of ours are in it."""
    try:
        report = own(folder, REPORT)
        if report is None:
            return None
        created = datetime.fromtimestamp(report.stat().st_mtime).astimezone()
        file = own(folder, FILE)
        if file is None:
            return _before_findings(folder, created)
        said = json.loads(file.read_text(encoding="utf-8"))
        findings = sorted(said["findings"], key=lambda finding: finding["verdict"] != "confirmed")
        first: dict[str, Any] = findings[0] if findings else {}
        explained = first.get("errors_explained")
        settings = _settings(said.get("provenance"))
        return Run(
            folder,
            created,
            _text(said["method"]),
            _text(said["dataset"] or "own predictions"),
            _text(said["model"]),
            _text(said["title"]),
            _text(first.get("name", "")),
            _text(first.get("verdict", "")).replace("_", " "),
            float(explained) if isinstance(explained, int | float) and isfinite(explained) else None,
            len(said["slices"]),
            command=_text(said.get("command") or "", _LONGEST_COMMAND),
            seed=settings.pop("seed", ""),
            settings=settings,
            clusters=len(said.get("clusters") or ()),
            weights=_weights(said.get("provenance")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _settings(provenance: Any) -> dict[str, str]:
    """The settings of a method, as its run says."""
    settings = provenance.get("settings") if isinstance(provenance, dict) else None
    if not isinstance(settings, dict):
        return {}
    return {_text(name): "null" if value is None else _text(value) for name, value in settings.items()}


def _weights(provenance: Any) -> str:
    """The checkpoint of a run's predictions: its file, and the folder that tells it from others of that name."""
    manifest = provenance.get("predictions") if isinstance(provenance, dict) else None
    checkpoint = manifest.get("checkpoint") if isinstance(manifest, dict) else None
    return _text("/".join(Path(str(checkpoint)).parts[-2:])) if checkpoint else ""


def _text(value: Any, longest: int = _LONGEST) -> str:
    return as_utf8(str(value)[:longest])  # neither a page nor JSON holds half a surrogate pair


def _read_comparison(folder: Path) -> Run | None:
    """The comparison of a folder, or None where none of ours is in it."""
    try:
        page, file = own(folder, PAGE), own(folder, COMPARISON)
        if page is None or file is None:
            return None
        created = datetime.fromtimestamp(page.stat().st_mtime).astimezone()
        said = json.loads(file.read_text(encoding="utf-8"))
        dataset, model = _text(said["after"]["dataset"]), _text(said["after"]["model"])
        found, command = len(said["slices"]), _text(said.get("command") or "", _LONGEST_COMMAND)
        title = _text(said["title"])
        return Run(
            folder, created, "compare", dataset, model, title, "", "", None, found, PAGE, command=command
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _before_findings(folder: Path, created: datetime) -> Run | None:
    file = own(folder, "slices/slices.json")
    if file is None:
        return None
    header = json.loads(file.read_text(encoding="utf-8"))
    made_from = header["provenance"].get("predictions") or {}
    dataset, model = made_from.get("dataset") or "own predictions", made_from.get("model") or ""
    found = len(header["statistics"])
    return Run(
        folder, created, _text(header["method"]), _text(dataset), _text(model), "", "", "", None, found
    )
