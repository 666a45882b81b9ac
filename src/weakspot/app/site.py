"""What is answered to which address."""

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

from weakspot.app import audit_pages, tree_pages
from weakspot.app.audit_pages import AuditPages
from weakspot.app.audits import Audits, Words
from weakspot.app.compare_pages import ComparePages
from weakspot.app.guard import SANDBOX, Guard, TooLargeError, is_loopback, new_token, too_large
from weakspot.app.media import Parts
from weakspot.app.offline_runs import find_offline_runs
from weakspot.app.pages import page, refusal
from weakspot.app.records import Records
from weakspot.app.run_pages import RunPages
from weakspot.app.runs import Run, Runs, page_of
from weakspot.app.server import Server
from weakspot.app.tree_pages import TreePages

LOOPBACK = "127.0.0.1"

_MOST = {
    tree_pages.UPLOAD: tree_pages.MOST_BYTES,
    audit_pages.UPLOAD: audit_pages.MOST_BYTES,
}  # that a request may bring, where it is more than a form's
_OURS, _REPORTS = files("weakspot.app") / "static", files("weakspot.report")
_STATIC = {  # what is served beside pages: a file, and its type
    **{name: (_OURS / name, "text/javascript") for name in ("app.js", "lasso.js")},
    **{name: (_REPORTS / name, "text/javascript") for name in ("sort.js", "folds.js", "points.js", "map.js")},
    "app.css": (_OURS / "app.css", "text/css"),
    **{name: (_REPORTS / name, "text/css") for name in ("base.css", "map.css")},
}


class Site:
    """The pages over the runs of some folders.

    Args:
        folders: What is shown; nothing outside them is read. Uploads are kept in the first.
        words: What may be chosen for an uploaded model.
        parts_of: What the run of a folder was made of.
    """

    def __init__(self, folders: Sequence[Path], words: Words, parts_of: Callable[[Path], Parts]) -> None:
        home, self.runs = Path(folders[0]), Runs(folders)
        self.audits = Audits(home / "uploads", words)
        records = Records(self.runs)
        self._pages = (
            TreePages(self.runs),
            AuditPages(self.runs, self.audits),
            RunPages(self.runs, records, parts_of, home / "selections"),
            ComparePages(self.runs, records, home / "comparisons"),
        )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.index),
                Route("/run/{digest:str}/report", self.report),
                Route("/static/{name:str}", static),
                *(route for pages in self._pages for route in pages.routes()),
            ],
            exception_handlers={
                HTTPException: lambda _, error: refusal(error.detail, error.status_code),
                ValueError: lambda _, error: refusal(str(error)),
                OSError: lambda _, error: refusal(_said(error)),
                TooLargeError: lambda _, error: too_large(error.most),
            },
        )

    def index(self, request: Request) -> Response:
        folders = self.runs.folders
        return page("runs", runs=self.runs.all(), folders=folders, offline=find_offline_runs(folders))

    def report(self, request: Request) -> Response:
        written = page_of(self.run(request))
        if written is None:
            raise HTTPException(404, "This run's page is gone.")
        return sandboxed(written)

    def run(self, request: Request) -> Run:
        """The run that an address names."""
        run = self.runs.find(request.path_params["digest"])
        if run is None:
            raise HTTPException(404, "There is no such run, or no longer; the list shows those there are.")
        return run


def make_server(site: Site, port: int = 0, host: str = LOOPBACK, token: bool = False) -> Server:
    """A server of the explorer.

    Args:
        site: Its pages.
        port: 0 takes any that is free.
        host: The address to listen on.
        token: Whether to ask for a token on the loopback interface, too: everyone on this machine reaches that.
    """
    return _guarded(site.app(), port, host, token)


def make_page_server(written: str, port: int = 0, host: str = LOOPBACK, token: bool = False) -> Server:
    """A server of one page, `/`; the rest as for `make_server`."""
    app = Starlette(routes=[Route("/", lambda request: sandboxed(written.encode()))])
    return _guarded(app, port, host, token)


def _guarded(app: ASGIApp, port: int, host: str, token: bool) -> Server:
    word = None if is_loopback(host) and not token else new_token()
    return Server(Guard(app, host, word, _MOST), host, port, word)


def _said(error: OSError) -> str:
    """What the system refused; a sentence of ours where there is one."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def sandboxed(written: bytes) -> Response:
    """A page as it was written, in an origin of its own."""
    return HTMLResponse(written, headers={"Content-Security-Policy": SANDBOX})


def static(request: Request) -> Response:
    """A style or script of ours."""
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404, "There is no such file.")
    file, kind = _STATIC[name]
    return Response(file.read_bytes(), media_type=kind)
