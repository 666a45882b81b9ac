"""A server that no client can block: waiting connections are limited in number and in time."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass
class Limits:
    """The limits for clients.

    Attributes:
        connections: How many connections may wait at a time for their client to send a request or read an answer.
        seconds: How long a client may take to send a request, and to read the answer.
        upload_seconds: How long a client may take to send a file, once it has begun.
    """

    connections: int = 32
    seconds: float = 20.0
    upload_seconds: float = 900.0


class BoundedProtocol(H11Protocol):
    """One connection with time limits.

    A client that sends its request byte by byte, or does not read the answer, is disconnected. Once the limit
    of waiting connections is reached, a new one replaces the oldest: a client that opens hundreds and leaves
    them waiting loses them, and other clients are still answered.
    """

    def __init__(self, limits: Limits, **settings: Any) -> None:
        super().__init__(**settings)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None  # set while this connection waits for its client
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self._limits.seconds)
        waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one._deadline]
        for one in sorted(waiting, key=lambda one: one._since)[: -self._limits.connections]:
            one.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            return
        if not self.cycle.more_body:
            self._stop_waiting()  # the request is complete, and computing its answer may take any time
        elif self.cycle is not before:
            self._wait(self._limits.upload_seconds)

    def on_response_complete(self) -> None:
        self._wait(self._limits.seconds)  # for the client to read the answer, or to send the next request
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(self._limits.seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server:
    """An app served on a port.

    Args:
        app: The app that answers.
        host: The address to listen on.
        port: The port; 0 takes any that is free.
        token: The token that requests must carry; None if they need none.

    Attributes:
        port: The port in use.
        limits: The limits for clients.

    Raises:
        OSError: If the address cannot be used.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, token: str | None = None) -> None:
        self.limits, self._token = Limits(), token
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=128)
        self.host: str = self._socket.getsockname()[0]
        self.port: int = self._socket.getsockname()[1]
        protocol: Any = partial(BoundedProtocol, self.limits)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,  # uvicorn must not write to the user's console
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
            )
        )

    def serve_forever(self) -> None:
        """Answer until `shutdown` is called, or the process is interrupted."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def shutdown(self) -> None:
        """End `serve_forever`, which may be in another thread."""
        self._server.should_exit = True

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        if ipaddress.ip_address(self.host).is_unspecified:
            name = socket.gethostname()
        return f"http://{name}:{self.port}/" + ("" if self._token is None else f"?token={self._token}")

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.server_state.connections)
