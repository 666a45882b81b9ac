"""Two runs side by side: what is fixed, what persists, what is new."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.pages import page
from weakspot.app.records import Records
from weakspot.app.runs import Run, Runs
from weakspot.findings.compare_slices import RunToCompare, check_comparable
from weakspot.pipeline.compare import compare_runs


class ComparePages:
    """The page that compares two runs.

    Args:
        runs: Those at hand.
        records: The same, read.
        home: Where comparisons are kept.
    """

    def __init__(self, runs: Runs, records: Records, home: Path) -> None:
        self._runs, self._records, self._home = runs, records, home

    def routes(self) -> list[Route]:
        return [Route("/compare", self.form), Route("/compare", self.compare, methods=["POST"])]

    def form(self, request: Request) -> Response:
        runs = [run for run in self._runs.all() if not run.compares]
        return page("compare", runs=runs, chosen=_chosen(request.query_params, runs))

    async def compare(self, request: Request) -> Response:
        async with request.form(max_files=0, max_fields=4) as form:
            chosen = [str(form.get(name, "")) for name in ("before", "after")]
        return RedirectResponse(await run_in_threadpool(self._compare, *chosen), 303)

    def _compare(self, before: str, after: str) -> str:
        if before == after:
            raise ValueError("These are one run: choose two.")
        earlier, later = (self._reading(self._run(digest)) for digest in (before, after))
        check_comparable(earlier, later)
        folder = self._home / secrets.token_hex(8)
        command = shlex.join(["python", "discover.py", f"compare=[{earlier.run},{later.run}]"])
        compare_runs(earlier, later, folder, command=command)
        made = (run for run in self._runs.all() if run.folder.absolute() == folder.absolute())
        return next(made).address

    def _run(self, digest: str) -> Run:
        run = self._runs.find(digest)
        if run is None or run.compares:
            raise ValueError("Choose two runs of the list; one of these is none, or no longer there.")
        return run

    def _reading(self, run: Run) -> RunToCompare:
        record = self._records.of(run)
        findings = () if record.findings is None else record.findings.findings
        return RunToCompare(str(run.folder), record.slices, record.predictions, findings)


def _chosen(words: QueryParams, runs: Sequence[Run]) -> dict[str, str]:
    """Which two the form offers first: those that were ticked in the list, or the one named and the run before it.

    Args:
        words: Of the address: `run` twice, or `after`.
        runs: Those at hand, newest first.

    Raises:
        ValueError: Where other than two were ticked.
    """
    ticked = [run.digest for run in runs if run.digest in words.getlist("run")]
    if "run" in words and len(ticked) != 2:
        raise ValueError("Go back and tick two runs: a comparison is of an earlier and a later one.")
    known = [run.digest for run in runs]
    if ticked or len(known) < 2:
        after, before = ticked or ("", "")
        return {"before": before, "after": after}
    place = known.index(words["after"]) if words.get("after") in known else 0
    return {"after": known[place], "before": known[place + 1 if place + 1 < len(known) else 0]}
