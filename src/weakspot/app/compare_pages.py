"""The page that compares two runs: which slices are fixed, which persist, which are new."""

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

from weakspot.app.loaded_runs import LoadedRuns
from weakspot.app.pages import render_page
from weakspot.app.run_index import RunIndex, RunSummary
from weakspot.findings.runs_to_compare import check_comparable
from weakspot.pipeline.compare import compare_runs


class ComparePages:
    """Serves the page that compares two runs.

    Args:
        runs: The runs below the folders.
        loaded_runs: The same runs with their slices and predictions.
        home: The folder of comparisons.
    """

    def __init__(self, runs: RunIndex, loaded_runs: LoadedRuns, home: Path) -> None:
        self._runs, self._loaded_runs, self._home = runs, loaded_runs, home

    def routes(self) -> list[Route]:
        """Return the routes of this page."""
        return [Route("/compare", self.form), Route("/compare", self.compare, methods=["POST"])]

    def form(self, request: Request) -> Response:
        """Show the form in which two runs are chosen."""
        runs = [run for run in self._runs.all() if not run.is_comparison and not run.damage]
        return render_page("compare", runs=runs, preselected=_preselected(request.query_params, runs))

    async def compare(self, request: Request) -> Response:
        """Compare the two chosen runs, and redirect to the comparison."""
        async with request.form(max_files=0, max_fields=4) as form:
            chosen = [str(form.get(name, "")) for name in ("before", "after")]
        return RedirectResponse(await run_in_threadpool(self._compare, *chosen), 303)

    def _compare(self, before: str, after: str) -> str:
        if before == after:
            raise ValueError("Both are the same run: choose two.")
        earlier, later = (self._loaded_runs.load(self._run(digest)).to_compare for digest in (before, after))
        check_comparable(earlier, later)
        folder = self._home / secrets.token_hex(8)
        command = shlex.join(["python", "discover.py", f"compare=[{earlier.run},{later.run}]"])
        compare_runs(earlier, later, folder, command=command)
        (saved,) = self._runs.in_folder(folder)
        return saved.address

    def _run(self, digest: str) -> RunSummary:
        run = self._runs.find(digest)
        if run is None or run.is_comparison:
            raise ValueError(
                "Choose two runs from the list; one of these does not exist or no longer exists."
            )
        return run


def _preselected(query: QueryParams, runs: Sequence[RunSummary]) -> dict[str, str]:
    """Return the digests of the two runs that the form preselects, by field.

    These are the two runs ticked in the list, or the run that the URL names and the one before it.

    Args:
        query: The URL's query: `run` twice, or `after`.
        runs: The runs below the folders, newest first.

    Raises:
        ValueError: If runs were ticked, but not exactly two.
    """
    selected = [run.digest for run in runs if run.digest in query.getlist("run")]
    if "run" in query and len(selected) != 2:
        raise ValueError("Go back and tick two runs: a comparison needs an earlier and a later one.")
    digests = [run.digest for run in runs]
    if selected or len(digests) < 2:
        after, before = selected or ("", "")
        return {"before": before, "after": after}
    position = digests.index(query["after"]) if query.get("after") in digests else 0
    return {"after": digests[position], "before": digests[position + 1 if position + 1 < len(digests) else 0]}
