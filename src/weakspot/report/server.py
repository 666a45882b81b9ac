"""A server that no client can hold up: few connections at a time, and each has its time."""

from __future__ import annotations

import sys
from contextlib import suppress
from http.server import ThreadingHTTPServer
from math import inf
from socket import SHUT_RDWR, socket
from threading import Lock
from time import monotonic
from typing import Any


class BoundedServer(ThreadingHTTPServer):
    """Answers every connection in a thread of its own, but never in many, and in none for long.

    A client that sends its request byte by byte, or does not read the answer, is hung up on after `seconds`. Where
    there are `connections` already, a new one takes the place of the oldest: whoever opens hundreds and keeps them
    waiting loses them, and a browser beside them is still answered. Clients that hang up are no error.

    Attributes:
        connections: How many there may be at a time.
        seconds: How long a request may take to arrive, and its answer to be taken.
    """

    connections = 32
    seconds = 20.0
    request_queue_size = 128  # that wait to be accepted: beyond it, clients try again after a second

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._waiting_since: dict[socket, float] = {}  # of every open connection, the oldest first
        self._lock = Lock()

    def get_request(self) -> tuple[socket, Any]:
        request, address = super().get_request()
        request.settimeout(self.seconds)  # of one read, and of the whole answer
        return request, address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._waiting_since[request] = monotonic()
            too_many = list(self._waiting_since)[: -self.connections]
        _hang_up(too_many)
        super().process_request(request, client_address)

    def heard(self, request: Any) -> None:
        """Note that a request has arrived whole; to be called by the handler."""
        with self._lock:
            if request in self._waiting_since:
                self._waiting_since[request] = inf

    def service_actions(self) -> None:
        super().service_actions()
        latest = monotonic() - self.seconds
        with self._lock:
            late = [request for request, since in self._waiting_since.items() if since < latest]
        _hang_up(late)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._waiting_since.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that hung up, or was hung up on
            super().handle_error(request, client_address)


def _hang_up(requests: list[socket]) -> None:
    """End connections; the threads that wait for them close them."""
    for request in requests:
        with suppress(OSError):  # it has ended by itself
            request.shutdown(SHUT_RDWR)
