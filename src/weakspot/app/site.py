"""The explorer's routes and the pages that they serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from weakspot.app import model_pages, tree_pages
from weakspot.app.compare_pages import ComparePages
from weakspot.app.guard import SANDBOX, Guard, TooLargeError, is_loopback, new_token, refuse_too_large
from weakspot.app.loaded_runs import LoadedRun, LoadedRuns
from weakspot.app.model_pages import ModelPages
from weakspot.app.offline_runs import find_offline_runs
from weakspot.app.pages import render_page, render_refusal
from weakspot.app.run_files import read_file_inside
from weakspot.app.run_index import RunIndex, RunSummary
from weakspot.app.run_pages import RunPages
from weakspot.app.run_previews import RunPreviews
from weakspot.app.server import Server
from weakspot.app.tree_pages import TreePages
from weakspot.app.uploaded_models import Audits, UploadChoices

LOOPBACK = "127.0.0.1"

_UPLOAD_LIMITS = {
    tree_pages.UPLOAD: tree_pages.MAX_BYTES,
    model_pages.UPLOAD: model_pages.MAX_BYTES,
}  # bytes that a request may send, for paths that accept more than a form
_STATIC_FOLDER, _REPORT_FOLDER = files("weakspot.app") / "static", files("weakspot.report")
_STATIC = {  # the file and the media type of each static file, by name
    **{name: (_STATIC_FOLDER / name, "text/javascript") for name in ("app.js", "lasso.js")},
    **{
        name: (_REPORT_FOLDER / name, "text/javascript")
        for name in ("sort.js", "folds.js", "points.js", "map.js")
    },
    "app.css": (_STATIC_FOLDER / "app.css", "text/css"),
    **{name: (_REPORT_FOLDER / name, "text/css") for name in ("base.css", "map.css")},
}


class Site:
    """The explorer's pages for the runs below some folders.

    Args:
        folders: The folders of runs; uploads are stored in the first.
        choices: The datasets, models and methods that may be chosen for an uploaded model.
        previews_of: Returns the previews of a run's examples.
        data_folders: Further folders from which predictions may be read, besides the folders of runs.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        choices: UploadChoices,
        previews_of: Callable[[LoadedRun, RunIndex], RunPreviews],
        data_folders: Sequence[Path] = (),
    ) -> None:
        home, self.runs = Path(folders[0]), RunIndex(folders)
        self.audits = Audits(home / "uploads", choices)
        loaded_runs = LoadedRuns(self.runs, data_folders)
        self._pages = (
            TreePages(self.runs),
            ModelPages(self.runs, self.audits),
            RunPages(self.runs, loaded_runs, previews_of, home / "selections"),
            ComparePages(self.runs, loaded_runs, home / "comparisons"),
        )

    def app(self) -> Starlette:
        """Return the app that serves all pages."""
        return Starlette(
            routes=[
                Route("/", self.index),
                Route("/run/{digest:str}/report", self.report),
                Route("/static/{name:str}", serve_static),
                *(route for pages in self._pages for route in pages.routes()),
            ],
            exception_handlers={
                HTTPException: lambda _, error: render_refusal(error.detail, error.status_code),
                ValueError: lambda _, error: render_refusal(str(error)),
                OSError: lambda _, error: render_refusal(_describe_error(error)),
                TooLargeError: lambda _, error: refuse_too_large(error.limit),
            },
        )

    def index(self, request: Request) -> Response:
        """Show the list of runs."""
        folders = self.runs.folders
        return render_page("runs", runs=self.runs.all(), folders=folders, offline=find_offline_runs(folders))

    def report(self, request: Request) -> Response:
        """Return the report or comparison of a run, as it was written."""
        run = self.run(request)
        html = read_file_inside(run.folder, run.page)
        if html is None:
            raise HTTPException(404, "This run's page is gone.")
        return sandboxed(html)

    def run(self, request: Request) -> RunSummary:
        """Return the run that a URL names."""
        run = self.runs.find(request.path_params["digest"])
        if run is None:
            raise HTTPException(404, "There is no such run, or it no longer exists; the list shows all runs.")
        return run


def make_server(site: Site, port: int = 0, host: str = LOOPBACK, token: bool = False) -> Server:
    """Return a server of the explorer.

    Args:
        site: Its pages.
        port: The port; 0 takes any that is free.
        host: The address to listen on.
        token: Whether to require a token on the loopback interface too, which every user of this machine can
            reach.
    """
    return _guarded_server(site.app(), port, host, token)


def make_page_server(html: str, port: int = 0, host: str = LOOPBACK, token: bool = False) -> Server:
    """Return a server of a single page at `/`; the other arguments are those of `make_server`."""
    app = Starlette(routes=[Route("/", lambda request: sandboxed(html.encode()))])
    return _guarded_server(app, port, host, token)


def _guarded_server(app: ASGIApp, port: int, host: str, token: bool) -> Server:
    token_value = None if is_loopback(host) and not token else new_token()
    return Server(Guard(app, host, token_value, _UPLOAD_LIMITS), host, port, token_value)


def _describe_error(error: OSError) -> str:
    """Return the file and the system's reason if the error has both, otherwise its message."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def sandboxed(html: bytes) -> Response:
    """Return a page as it was written, sandboxed in an origin of its own."""
    return HTMLResponse(html, headers={"Content-Security-Policy": SANDBOX})


def serve_static(request: Request) -> Response:
    """Return one of the explorer's style sheets or scripts."""
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404, "There is no such file.")
    file, kind = _STATIC[name]
    return Response(file.read_bytes(), media_type=kind)
