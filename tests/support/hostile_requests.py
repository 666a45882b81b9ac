"""Hostile requests to the explorer: addresses, headers, forms and uploads, as bytes from a connection."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h11
import numpy as np
from starlette.formparsers import MultiPartParser

from mutations import a_tree_file, attempt, mutated
from samples import a_record
from weakspot import UDIS, Predictions
from weakspot.app.guard import Guard
from weakspot.app.site import _UPLOAD_LIMITS, LOOPBACK, Site
from weakspot.app.uploaded_models import UploadChoices
from weakspot.pipeline.discover import discover

EDGE = b"edge7d1f"
"""The boundary between the parts of a form with a file."""

_ODD = (
    "", "-1", "0", "1e999", "nan", "inf", "²", "٣", "9" * 5000, "1e-400", "\ud800", "%00", "%ff%fe", "%0d%0aX: y",
    "../..",
    "%2e%2e%2f", "<script>", "{{7*7}}", "é", "a=b&c=d", "&" * 50, ";", "'", '"', "\\", " ", "null", "finding-1",
    "slice-99999999999999999999", "node-²", "predicted", "0,0;1,1;2,2", "0,0;" * 500, "age>=nan", "colour<1",
    "age>=1e400",
)  # fmt: skip
_NAMES = (
    "search", "where", "label", "prediction", "outcome", "in", "rows", "lasso", "map", "from", "side", "layer", "class",
    "threshold", "accuracy", "attribute", "operator", "value", "dataset", "category", "run", "after", "row", "before",
    "token",
)  # fmt: skip
_HEADERS = (
    b"Host: evil.example", b"Host: [::1", b"Host: 127.0.0.1:0", b"Host:", b"Cookie: weakspot-80=\xff; =;;",
    b"Range: bytes=0-1",
    b"Content-Length: 99999999999999999999", b"Content-Length: -1", b"Content-Length: \xb2",
    b"Transfer-Encoding: chunked",
    b"Content-Type: multipart/form-data", b"Content-Type: multipart/form-data; boundary=", b"Accept: \xff",
    b"Content-Type: multipart/form-data; boundary=edge7d1f; charset=unicode_escape",
    b"Content-Type: multipart/form-data; boundary=edge7d1f; charset=utf-16",
    b"Content-Type: multipart/form-data; boundary=edge7d1f; charset=rot13",
    b"Content-Type: multipart/form-data; boundary=edge7d1f; charset=idna",
    b"Content-Type: application/x-www-form-urlencoded; charset=utf-7", b"Content-Type: \xff/\xff; =\"", b"Origin: null",
)  # fmt: skip


class RequestCases:
    """Requests to the explorer over a small run, in this process: it must refuse each or answer with a page.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        store = folder / "outputs" / "predictions" / "mine"
        store.parent.mkdir(parents=True)
        a_record(80).save(store)
        with redirect_stdout(io.StringIO()):
            discover(UDIS(), Predictions.load(store), folder / "outputs" / "discover" / "udis")
        words = UploadChoices((sys.executable, "-c", ""), ("digits",), ("small_cnn",), ("scan",))
        self.site = Site([folder / "outputs"], words, _no_parts)
        (run,) = self.site.runs.all()
        self.app = Guard(self.site.app(), LOOPBACK, None, _UPLOAD_LIMITS)
        self.requests = _requests(run.digest)

    def outcome(self, seed: Sequence[int], steps: Sequence[int]) -> str:
        rng = np.random.default_rng([*seed])
        head, body = self.requests[rng.integers(len(self.requests)) if steps else 0]
        content = b"\r\n".join([*head, b"Content-Length: %d" % len(body)] if body else head), body
        for step in steps:
            content = damaged_request(*content, np.random.default_rng(step))
        return attempt(lambda: self._answer(*content), None)

    def _answer(self, head: bytes, body: bytes) -> None:
        """Answer a request; raise ValueError if it is refused."""
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # prints about new slices
            # Starlette leaves the file of an aborted upload to the garbage collector, which then warns.
            warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
            status, page = asyncio.run(answer(self.app, head, body))
            if len(body) > MultiPartParser.spool_max_size:  # smaller ones have no file
                gc.collect()
        if status >= 500:
            raise AssertionError(f"{status}: {page[:200]!r}")
        if status >= 400:
            if b"Traceback" in page:
                raise AssertionError(f"{page[:200]!r}")
            raise ValueError("refused")


async def answer(app: Any, head: bytes, body: bytes) -> tuple[int, bytes]:
    """Status and content of an app's response to the bytes of a request, parsed as the server does."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head + b"\r\n\r\n" + body)
    connection.receive_data(b"")
    brought = b""
    try:
        event = connection.next_event()
        if not isinstance(event, h11.Request):
            return 400, b"no request"
        while type(part := connection.next_event()) is h11.Data:
            brought += bytes(part.data)
    except h11.RemoteProtocolError:
        return 400, b"no request of HTTP"
    path, _, query = event.target.partition(b"?")
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
        "server": (LOOPBACK, 80), "client": (LOOPBACK, 1), "root_path": "", "method": event.method.decode("ascii"),
        "path": unquote(path.decode("ascii")), "raw_path": path, "query_string": query,
        "headers": [(name.lower(), value) for name, value in event.headers], "state": {},
    }  # fmt: skip
    messages = [{"type": "http.request", "body": brought, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def damaged_request(head: bytes, body: bytes, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """A request's bytes before and in its body, damaged in one way."""
    line, *headers = head.split(b"\r\n")
    odd = _ODD[rng.integers(len(_ODD))].encode("utf-8", "surrogatepass")
    asked = b"".join(b"%%%02x" % byte if byte < 33 or byte > 126 else bytes([byte]) for byte in odd)
    match rng.integers(8):
        case 0:
            return b"\r\n".join([mutated(line, [int(rng.integers(2**32))]), *headers]), body
        case 1:  # another parameter in the address
            name = _NAMES[rng.integers(len(_NAMES))].encode()
            method, _, rest = line.partition(b" ")
            target, _, version = rest.rpartition(b" ")
            target += (b"&" if b"?" in target else b"?") + name + b"=" + asked
            return b"\r\n".join([method + b" " + target + b" " + version, *headers]), body
        case 2:  # another part of the path
            parts = line.split(b"/")
            parts[int(rng.integers(1, max(len(parts) - 1, 2))) % len(parts)] = asked.replace(b" ", b"%20")
            return b"\r\n".join([b"/".join(parts), *headers]), body
        case 3 | 4:  # another header
            header = _HEADERS[rng.integers(len(_HEADERS))]
            name = header.partition(b":")[0] + b":"
            kept = [one for one in headers if not one.startswith(name)] if rng.random() < 0.8 else headers
            return b"\r\n".join([line, *kept, header]), body
        case 5:
            return mutated(head, [int(rng.integers(2**32))]), body
        case 6 if body:  # a value in the form
            values = body.split(b"\r\n\r\n")
            at = rng.integers(len(values))
            values[at] = odd + b"\r\n" + values[at].partition(b"\r\n")[2] if at else values[at]
            changed = b"\r\n\r\n".join(values)
        case _:
            changed = mutated(body, [int(rng.integers(2**32))])
    kept = [one for one in headers if not one.startswith(b"Content-Length:")]
    return b"\r\n".join([line, *kept, b"Content-Length: %d" % len(changed)]), changed


def _no_parts(_folder: Path) -> Any:
    raise ValueError("nothing is built from here")


def _requests(digest: str) -> list[tuple[list[bytes], bytes]]:
    """Requests as a browser sends them: the lines before the body, and the body."""
    run = f"/run/{digest}"
    addresses = [
        "/", f"{run}/report", "/static/app.js", "/clusters?threshold=66&accuracy=50", "/trees", "/models",
        "/compare?after=x",
        f"{run}?rows=all&where=colour%3Dred&label=1", f"{run}?search=ex&from=10&map=shown&lasso=0,0;9000,0;9000,9000",
        f"{run}?attribute=age&operator=%3E%3D&value=3&outcome=wrong&in=finding-1",
        f"{run}/ids.csv?in=slice-1&rows=held",
        f"{run}/image/3?side=64", f"{run}/example/3?layer=conv&class=1", f"{run}/cam/3?class=predicted&layer=x",
        f"{run}/tree?threshold=50", f"{run}/node/4?from=0", f"{run}/node/4/ids.csv", "/uploaded/0123456789abcdef/tree",
        "/model/0123456789abcdef",
    ]  # fmt: skip
    host = b"Host: localhost"
    found = [([f"GET {address} HTTP/1.1".encode(), host], b"") for address in addresses]
    origin = b"Origin: http://localhost"
    for address, fields, file in (
        ("/trees", {}, a_tree_file().read_bytes()),
        ("/models", {"dataset": "digits", "model": "", "method": "scan"}, b"no weights"),
        ("/compare", {"before": digest, "after": digest}, None),
        (f"{run}/slices", {"where": "colour=purple"}, None),
        (f"{run}/slices", {"row": "2"}, None),
    ):
        parts = [
            b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
            % (EDGE, name.encode(), value.encode())
            for name, value in fields.items()
        ]
        if file is not None:
            parts.append(
                b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.json"\r\n\r\n%b\r\n'
                % (EDGE, file)
            )
        kind = b"Content-Type: multipart/form-data; boundary=" + EDGE
        body = b"".join([*parts, b"--%b--\r\n" % EDGE])
        found.append(([f"POST {address} HTTP/1.1".encode(), host, origin, kind], body))
        if file is None:
            plain = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
            urlencoded = b"Content-Type: application/x-www-form-urlencoded"
            found.append(([f"POST {address} HTTP/1.1".encode(), host, origin, urlencoded], plain))
    return found
