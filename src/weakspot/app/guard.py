"""Who is answered, and how much is listened to: before any page is made."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of the explorer's own pages: nothing inline is run, nothing comes from elsewhere."""

SANDBOX = "sandbox allow-scripts allow-popups allow-downloads"
"""Of a report or a comparison: it has an origin of its own, so that one put among the runs by someone else can neither
read the others nor press a button of the explorer."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?")
_SMALL = 1 << 20  # bytes of a request that brings no file


class TooLargeError(Exception):
    """A request that brings more than it may.

    Attributes:
        most: How many bytes it may.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


class Guard:
    """Stands before the app.

    Only requests for this machine by name are answered, so that no page elsewhere can read through a name of its own
    (DNS rebinding). What changes something must come from a page of this server. Where there is a token, whoever asks
    must know it, from the address that the console shows.

    Args:
        app: What answers.
        host: The address that is listened on.
        token: What must be known; None where all that reach the address may ask.
        most: How many bytes a request to a path may bring; 1 MB to any other.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, most: Mapping[str, int]) -> None:
        self._app, self._token, self._most = app, token, most
        self._names = {host.lower(), "localhost"}
        self._beyond = not is_loopback(host)
        if self._beyond:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        received, most = 0, self._most.get(scope["path"], _SMALL)

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise TooLargeError(most)
            return message

        await self._app(scope, receive_some, _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_named(host):
            return _refused(HTTPStatus.FORBIDDEN, "only requests to localhost are answered")
        if self._token is not None:
            entering = self._entering(scope)
            if entering is not None:
                return entering
            known = cookie_parser(headers.get("cookie", "")).get(_cookie(scope), "")
            if not _equal(known, self._token):
                return _refused(
                    HTTPStatus.FORBIDDEN, "open the address with the token that the console shows"
                )
        if scope["method"] not in ("GET", "HEAD"):
            if headers.get("origin") != f"http://{host}":
                return _refused(HTTPStatus.FORBIDDEN, "only pages of this server may change anything")
            most = self._most.get(scope["path"], _SMALL)
            announced = headers.get("content-length", "")
            if announced.isdecimal() and int(announced[:20]) > most:
                return too_large(most)
        return None

    def _is_named(self, host: str) -> bool:
        """Whether a Host header names this machine."""
        matched = _HOST.fullmatch(host)
        if matched is None:
            return False
        name = matched[1].strip("[]").lower()
        return name in self._names or (_is_address(name) and (self._beyond or is_loopback(name)))

    def _entering(self, scope: Scope) -> Response | None:
        """The way in with the token in the address: it becomes a cookie, and leaves the address."""
        words = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = dict(words).get("token")
        if token is None or self._token is None or not _equal(token, self._token):
            return None
        rest = urlencode([(name, value) for name, value in words if name != "token"])
        # a path that begins with two strokes would lead to another machine
        there = "/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else "")
        answer = RedirectResponse(there, HTTPStatus.SEE_OTHER)
        answer.set_cookie(_cookie(scope), self._token, httponly=True, samesite="strict")
        return answer


def _cookie(scope: Scope) -> str:
    """The cookie's name: browsers send cookies to every port of a machine, where another explorer may listen."""
    return f"weakspot-{scope['server'][1]}"


def new_token() -> str:
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this machine reaches this address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _refused(status: HTTPStatus, sentence: str) -> Response:
    return PlainTextResponse(sentence + "\n", status)


def too_large(most: int) -> Response:
    """What is answered to a request that brings more."""
    return _refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"that is more than the {most:,} bytes that are taken"
    )


def _with_headers(send: Send) -> Send:
    """Every answer's headers, where it has none of its own."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY)
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            headers.setdefault(
                "Referrer-Policy", "same-origin"
            )  # none at all would send forms without an origin
        await send(message)

    return send_on
