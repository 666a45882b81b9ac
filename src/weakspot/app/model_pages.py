"""The pages of an uploaded model: the form, the progress of its audit by the ordinary command, and its run."""

from __future__ import annotations

import shlex

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.forms import display_name, uploaded_file
from weakspot.app.pages import render_page
from weakspot.app.run_index import RunIndex
from weakspot.app.uploaded_models import Audit, Audits

UPLOAD = "/models"

MAX_BYTES = 4 << 30
"""The most bytes of an uploaded file of weights."""


class ModelPages:
    """Serves the pages of uploaded models.

    Args:
        runs: The runs below the folders; an audit's run is one of them once it has ended.
        audits: The audits of this server.
    """

    def __init__(self, runs: RunIndex, audits: Audits) -> None:
        self._runs, self._audits = runs, audits

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        return [
            Route(UPLOAD, self.form),
            Route(UPLOAD, self.upload, methods=["POST"]),
            Route("/model/{digest}", self.audit),
            Route("/model/{digest}/stop", self.stop, methods=["POST"]),
        ]

    def form(self, request: Request) -> Response:
        """Show the form for an upload, and the audits that were started."""
        audited_datasets = {run.dataset for run in self._runs.all()}
        choices = self._audits.choices
        return render_page(
            "upload_model",
            audited=[word for word in choices.datasets if word in audited_datasets],
            others=[word for word in choices.datasets if word not in audited_datasets],
            choices=choices,
            started=list(self._audits.started.values()),
            max_bytes=MAX_BYTES,
        )

    async def upload(self, request: Request) -> Response:
        """Start the audit of an uploaded file, and redirect to its page."""
        self._audits.check_free()
        async with request.form(max_files=1, max_fields=8) as form:
            file, name = uploaded_file(form, "file"), display_name(uploaded_file(form, "file"))
            words = [_field(form, key) for key in ("dataset", "model", "method")]
            audit = await run_in_threadpool(self._audits.start, file.file, name, *words)
        return RedirectResponse(f"/model/{audit.digest}", 303)

    def audit(self, request: Request) -> Response:
        """Show the progress of an audit, its log, and its run once there is one."""
        audit = self._requested_audit(request)
        return render_page(
            "model",
            audit=audit,
            exit_code=audit.exit_code,
            command=shlex.join(audit.command),
            runs=self._runs.in_folder(audit.run),
            log=audit.log,
        )

    def stop(self, request: Request) -> Response:
        """Stop an audit."""
        audit = self._requested_audit(request)
        audit.stop()
        return RedirectResponse(f"/model/{audit.digest}", 303)

    def _requested_audit(self, request: Request) -> Audit:
        audit = self._audits.started.get(request.path_params["digest"])
        if audit is None:
            raise HTTPException(404, "No such model was uploaded since this server started.")
        return audit


def _field(form: FormData, key: str) -> str:
    value = form.get(key, "")
    return value if isinstance(value, str) else ""
