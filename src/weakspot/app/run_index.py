"""The list of runs below some folders, read from their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

from weakspot.app.run_files import check_files_inside, file_inside, is_below_any
from weakspot.arguments import value_as_typed
from weakspot.findings import VERDICTS, Findings
from weakspot.findings.comparison import FILE as COMPARISON
from weakspot.findings.comparison import PAGE, Comparison
from weakspot.findings.record import FILE
from weakspot.legible import LONGEST_VALUE, as_utf8, shortened
from weakspot.pipeline.discover import REPORT
from weakspot.pipeline.saved_runs import SLICES
from weakspot.slices import Slices

_SLICES_FILE = f"{SLICES}/slices.json"
_MAX_COMMAND_LENGTH = 10_000


@dataclass(frozen=True)
class RunSummary:
    """One discovery, or a comparison of two, as the list shows it.

    Attributes:
        folder: The run's folder.
        page: The name of the file that is shown: a report, or a comparison of two runs.
        modified: When that file was last modified; a cached run is read again once this changes.
        created: When the run was made, according to its record; otherwise, when its page was last modified.
        method: The method's word on the command line.
        dataset: The dataset's word on the command line.
        model: The model's word on the command line.
        title: The headline of its findings; empty for a run made before findings existed.
        finding: The name of the finding that explains most errors, among the confirmed ones if there are any.
        verdict: That finding's verdict.
        errors_explained: The share of all errors that it explains.
        n_slices: How many slices the method found, or a comparison compares.
        command: The command line that was typed.
        seed: The method's seed; empty if it has none.
        settings: The method's settings, as typed on the command line.
        clusters: How many nodes its cluster tree has.
        weights: The end of the path of the audited checkpoint; empty if none is known.
        embedding: Where its embeddings come from, such as `layer features`; empty if that is the model's last layer or
            unknown.
        has_predictions: Whether it names predictions, whose examples can be shown; a tree alone (`tree=`) has none.
        damage: Why its record cannot be read, in a sentence; empty if it can. Otherwise only folder, page, times and
            place are set.
        place: Its folder as it is shown, relative to the common parent of the listed folders: `outputs/discover/…`.
    """

    folder: Path
    page: str
    modified: datetime
    created: datetime
    method: str = ""
    dataset: str = ""
    model: str = ""
    title: str = ""
    finding: str = ""
    verdict: str = ""
    errors_explained: float | None = None
    n_slices: int = 0
    command: str = ""
    seed: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    clusters: int = 0
    weights: str = ""
    embedding: str = ""
    has_predictions: bool = False
    damage: str = ""
    place: str = ""

    @property
    def report(self) -> Path:
        """The file that is shown."""
        return self.folder / self.page

    @property
    def is_comparison(self) -> bool:
        """Whether it is a comparison of two runs."""
        return self.page == PAGE

    @property
    def audited(self) -> str:
        """What was audited, in words: `small_cnn on digits`, or the dataset alone if no model is known."""
        return f"{self.model} on {self.dataset}" if self.model else self.dataset

    @property
    def digest(self) -> str:
        """The name by which URLs refer to it, so that no path in a request reaches the file system."""
        return hashlib.sha256(os.fsencode(self.report.absolute())).hexdigest()[:16]

    @property
    def address(self) -> str:
        """The address of its report."""
        return f"/run/{self.digest}/report"


class RunIndex:
    """Lists the runs below some folders; files that have not changed are not read again.

    Args:
        folders: The folders; nothing outside them and the runs in them is read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        # the function that reads the run of each page
        self._reader_by_page: dict[Path, Callable[[Path], RunSummary | None]] = {}
        self._cached_summaries: dict[Path, tuple[Any, RunSummary | None]] = {}
        self._page_by_digest: dict[str, Path] = {}
        self._lock = Lock()

    def all(self) -> list[RunSummary]:
        """Return every run with a report and every comparison, newest first; `damage` is set for damaged ones."""
        pages = dict(_find_pages(self.folders))
        with self._lock:
            self._reader_by_page = pages
            found = [self._run_of(page) for page in pages]
            self._cached_summaries = {
                page: cached for page, cached in self._cached_summaries.items() if page in pages
            }
            runs = {run.digest: run for run in found if run is not None}
            self._page_by_digest = {digest: run.report for digest, run in runs.items()}
        return sorted(runs.values(), key=lambda run: (run.created, run.modified), reverse=True)

    def find(self, digest: str) -> RunSummary | None:
        """Return the run with a digest; the folders are searched only if it is not known yet."""
        with self._lock:
            page = self._page_by_digest.get(digest)
            if page is not None:
                return self._run_of(page)
        return next((run for run in self.all() if run.digest == digest), None)

    def in_folder(self, folder: Path) -> list[RunSummary]:
        """Return the runs that left a page in a folder: none yet, a discovery, a comparison, or both."""
        return [run for run in self.all() if run.folder.absolute() == folder.absolute()]

    def contains(self, path: Path) -> bool:
        """Return whether a file or folder lies in the folders after all links are followed."""
        return is_below_any(path, self.folders)

    def _run_of(self, page: Path) -> RunSummary | None:
        stamp = [_file_stamp(page.parent / name) for name in (page.name, FILE, COMPARISON, _SLICES_FILE)]
        cached = self._cached_summaries.get(page)
        # Damaged runs are read again: they may have been repaired in files that have no stamp.
        if cached is None or cached[0] != stamp or (cached[1] is not None and cached[1].damage):
            read = self._reader_by_page.get(page)  # None if another request has found that the page is gone
            run = None if read is None else read(page.parent)
            placed = None if run is None else replace(run, place=self._place(run))
            cached = self._cached_summaries[page] = stamp, placed
        return cached[1]

    def _place(self, run: RunSummary) -> str:
        homes = [os.path.dirname(os.path.abspath(folder)) for folder in self.folders]
        return as_utf8(os.path.relpath(run.folder, os.path.commonpath(homes)))


def _find_pages(folders: Sequence[Path]) -> Iterator[tuple[Path, Callable[[Path], RunSummary | None]]]:
    """Find reports and comparisons below the folders; a folder that vanishes while they are listed does no harm."""
    readers = {REPORT: _read_discovery, PAGE: _read_comparison}
    return (
        (Path(parent, name), read)
        for folder in folders
        for parent, _, files in os.walk(folder)
        for name, read in readers.items()
        if name in files
    )


def _file_stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _read_discovery(folder: Path) -> RunSummary | None:
    """Read the run in a folder; None if it holds neither findings nor slices of weakspot."""
    modified = _modified(folder, REPORT)
    if modified is None or not any(os.path.lexists(folder / name) for name in (FILE, _SLICES_FILE)):
        return None
    try:
        check_files_inside(folder)
        if not (folder / FILE).is_file():
            return _summary_of_slices(folder, modified, Slices.load(folder / SLICES))
        return _summary_of_findings(folder, modified, Findings.load(folder, tables=False))
    except (OSError, ValueError, RecursionError) as error:
        return _damaged(folder, REPORT, modified, error)


def _summary_of_findings(folder: Path, modified: datetime, found: Findings) -> RunSummary:
    confirmed = [finding for finding in found.findings if finding.confirmed]
    first = next(iter(confirmed or found.findings), None)
    explained = None if first is None else first.errors_explained
    settings = _settings(found.provenance)
    return RunSummary(
        folder,
        REPORT,
        modified,
        _created(found.created, modified),
        method=_shown(found.method),
        dataset=_shown(found.dataset or _file_name(found.provenance)),
        model=_shown(found.model),
        title=_shown(found.title),
        finding="" if first is None else _shown(first.subject),
        verdict="" if first is None else VERDICTS[first.verdict],
        errors_explained=explained if explained is not None and isfinite(explained) else None,
        n_slices=len(found.slices),
        command=_shown(found.command, _MAX_COMMAND_LENGTH),
        seed=settings.pop("seed", ""),
        settings=settings,
        clusters=len(found.clusters),
        weights=_weights(found.provenance),
        embedding=_shown(_manifest(found.provenance).get("embedding") or ""),
        has_predictions=bool(_manifest(found.provenance)),
    )


def _summary_of_slices(folder: Path, modified: datetime, slices: Slices) -> RunSummary:
    """Summarise a run made before findings existed."""
    made_from = _manifest(slices.provenance)
    return RunSummary(
        folder,
        REPORT,
        modified,
        created=modified,
        method=_shown(slices.method),
        dataset=_shown(made_from.get("dataset") or "own predictions"),
        model=_shown(made_from.get("model") or ""),
        n_slices=len(slices),
        has_predictions=bool(made_from),
    )


def _read_comparison(folder: Path) -> RunSummary | None:
    """Read the comparison in a folder; None if it holds none of weakspot."""
    modified = _modified(folder, PAGE)
    if modified is None or file_inside(folder, COMPARISON) is None:
        return None
    try:
        found = Comparison.load(folder)
    except (OSError, ValueError, RecursionError) as error:
        return _damaged(folder, PAGE, modified, error)
    return RunSummary(
        folder,
        PAGE,
        modified,
        _created(found.created, modified),
        method="compare",
        dataset=_shown(found.after.dataset),
        model=_shown(found.after.model),
        title=_shown(found.title),
        n_slices=len(found.slices),
        command=_shown(found.command, _MAX_COMMAND_LENGTH),
    )


def _damaged(folder: Path, page: str, modified: datetime, error: Exception) -> RunSummary:
    """Return the entry of a run whose record cannot be read; nothing in the record is trusted."""
    damage = _shown(str(error) or type(error).__name__, _MAX_COMMAND_LENGTH)
    return RunSummary(folder, page, modified, created=modified, damage=damage)


def _modified(folder: Path, name: str) -> datetime | None:
    """Return when a run's page was last modified; None if there is none inside its folder."""
    try:
        page = file_inside(folder, name)
        return None if page is None else datetime.fromtimestamp(page.stat().st_mtime).astimezone()
    except (OSError, ValueError, OverflowError):  # an impossible time is damage, too
        return None


def _created(recorded: str, modified: datetime) -> datetime:
    """Return when a run was made, according to its record: a copy of its files would be modified later."""
    try:
        return datetime.fromisoformat(recorded).astimezone()
    except (ValueError, OverflowError):  # the record may hold anything
        return modified


def _file_name(provenance: Any) -> str:
    """Return the name of the file of predictions that a run was given."""
    source = _manifest(provenance).get("source")
    return Path(str(source)).name if source else "own predictions"


def _settings(provenance: Any) -> dict[str, str]:
    """Return the settings of a method as typed on the command line."""
    settings = provenance.get("settings") if isinstance(provenance, dict) else None
    if not isinstance(settings, dict):
        return {}
    return {_shown(name): _shown(value_as_typed(value)) for name, value in settings.items()}


def _weights(provenance: Any) -> str:
    """Return the end of the path of the audited checkpoint: its file, and the folder that distinguishes it from
    others of that name.
    """
    checkpoint = _manifest(provenance).get("checkpoint")
    return _shown("/".join(Path(str(checkpoint)).parts[-2:])) if checkpoint else ""


def _manifest(provenance: Any) -> dict[str, Any]:
    """Return the manifest of a run's predictions; empty if there is none."""
    manifest = provenance.get("predictions") if isinstance(provenance, dict) else None
    return manifest if isinstance(manifest, dict) else {}


def _shown(value: object, most: int = LONGEST_VALUE) -> str:
    return as_utf8(shortened(str(value), most))  # neither a page nor JSON can hold half a surrogate pair
