"""Checks every request before it is answered: who sends it, from which page, and how large it is."""

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
"""The content policy of the explorer's own pages: no inline scripts, and nothing from other hosts."""

SANDBOX = "sandbox allow-scripts allow-popups allow-downloads"
"""The content policy of a report or a comparison: it has an origin of its own, so that a page written by somebody else
can neither read other pages nor press a button of the explorer."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?")
_DEFAULT_LIMIT = 1 << 20  # bytes of a request that sends no file


class TooLargeError(Exception):
    """Raised for a request that sends more bytes than allowed.

    Attributes:
        limit: How many bytes are allowed.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class Guard:
    """Checks every request before the app answers it.

    Only requests to this machine's own names are answered, so that a page from elsewhere cannot read answers
    through a host name of its own (DNS rebinding). A request that changes something must come from a page of
    this server. If there is a token, a request must carry it; the URL that the console shows contains it.

    Args:
        app: The app that answers.
        host: The address that the server listens on.
        token: The token; None if everyone who can reach the address may use the server.
        limits: How many bytes a request to a path may send; for any other path, 1 MB.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, limits: Mapping[str, int]) -> None:
        self._app, self._token, self._limits = app, token, limits
        self._names = {host.lower(), "localhost"}
        self._is_public = not is_loopback(host)
        if self._is_public:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        received, limit = 0, self._limits.get(scope["path"], _DEFAULT_LIMIT)

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise TooLargeError(limit)
            return message

        await self._app(scope, receive_some, _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_named(host):
            return _refuse(HTTPStatus.FORBIDDEN, "only requests to localhost are answered")
        if self._token is not None:
            entry = self._token_entry(scope)
            if entry is not None:
                return entry
            cookie = cookie_parser(headers.get("cookie", "")).get(_cookie_name(scope), "")
            if not _equal(cookie, self._token):
                return _refuse(HTTPStatus.FORBIDDEN, "open the address with the token that the console shows")
        if scope["method"] not in ("GET", "HEAD"):
            if headers.get("origin") != f"http://{host}":
                return _refuse(HTTPStatus.FORBIDDEN, "only pages of this server may change anything")
            limit = self._limits.get(scope["path"], _DEFAULT_LIMIT)
            announced = headers.get("content-length", "")
            if announced.isdecimal() and int(announced[:20]) > limit:
                return refuse_too_large(limit)
        return None

    def _is_named(self, host: str) -> bool:
        """Return whether a Host header names this machine."""
        matched = _HOST.fullmatch(host)
        if matched is None:
            return False
        name = matched[1].strip("[]").lower()
        return name in self._names or (_is_address(name) and (self._is_public or is_loopback(name)))

    def _token_entry(self, scope: Scope) -> Response | None:
        """Answer a request with the token in its URL: move the token from the URL to a cookie."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = dict(query).get("token")
        if token is None or self._token is None or not _equal(token, self._token):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # a path that begins with two slashes would lead to another machine
        location = "/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else "")
        answer = RedirectResponse(location, HTTPStatus.SEE_OTHER)
        answer.set_cookie(_cookie_name(scope), self._token, httponly=True, samesite="strict")
        return answer


def _cookie_name(scope: Scope) -> str:
    """Return the cookie's name, which contains the port: browsers send cookies to every port of a machine, and
    another explorer may listen on one.
    """
    return f"weakspot-{scope['server'][1]}"


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached only from this machine."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _refuse(status: HTTPStatus, sentence: str) -> Response:
    return PlainTextResponse(sentence + "\n", status)


def refuse_too_large(limit: int) -> Response:
    """Return the answer to a request that sends more bytes than allowed."""
    return _refuse(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"that is more than the {limit:,} bytes that are allowed"
    )


def _with_headers(send: Send) -> Send:
    """Add the security headers to every answer that does not set them itself."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY)
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            # without this header browsers would send forms without an origin
            headers.setdefault("Referrer-Policy", "same-origin")
        await send(message)

    return send_on
