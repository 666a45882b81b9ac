"""Upload Model: a file of weights, audited by the ordinary command, its progress and its run."""

from __future__ import annotations

import shlex

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.audits import Audit, Audits
from weakspot.app.forms import name_of, uploaded
from weakspot.app.pages import page
from weakspot.app.runs import Runs

UPLOAD = "/models"

MOST_BYTES = 4 << 30
"""Of a file of weights."""


class AuditPages:
    """The pages of uploaded models.

    Args:
        runs: Those at hand; an audit's run is one of them when it has ended.
        audits: Those of this server.
    """

    def __init__(self, runs: Runs, audits: Audits) -> None:
        self._runs, self._audits = runs, audits

    def routes(self) -> list[Route]:
        return [
            Route(UPLOAD, self.form),
            Route(UPLOAD, self.upload, methods=["POST"]),
            Route("/model/{digest}", self.audit),
            Route("/model/{digest}/stop", self.stop, methods=["POST"]),
        ]

    def form(self, request: Request) -> Response:
        used = {run.dataset for run in self._runs.all()}
        words = self._audits.words
        return page(
            "upload_model",
            at_hand=[word for word in words.datasets if word in used],
            others=[word for word in words.datasets if word not in used],
            words=words,
            started=list(self._audits.started.values()),
            most=MOST_BYTES,
        )

    async def upload(self, request: Request) -> Response:
        self._audits.check_free()
        async with request.form(max_files=1, max_fields=8) as form:
            file, name = uploaded(form, "file"), name_of(uploaded(form, "file"))
            words = [_word(form, key) for key in ("dataset", "model", "method")]
            audit = await run_in_threadpool(self._audits.start, file.file, name, *words)
        return RedirectResponse(f"/model/{audit.digest}", 303)

    def audit(self, request: Request) -> Response:
        audit = self._asked(request)
        made = [run for run in self._runs.all() if run.folder.absolute() == audit.run.absolute()]
        return page(
            "model", audit=audit, code=audit.code, line=shlex.join(audit.line), made=made, log=audit.log
        )

    def stop(self, request: Request) -> Response:
        audit = self._asked(request)
        audit.stop()
        return RedirectResponse(f"/model/{audit.digest}", 303)

    def _asked(self, request: Request) -> Audit:
        audit = self._audits.started.get(request.path_params["digest"])
        if audit is None:
            raise HTTPException(404, "No such model was uploaded since this server started.")
        return audit


def _word(form: FormData, key: str) -> str:
    value = form.get(key, "")
    return value if isinstance(value, str) else ""
