"""What W&B wrote about a run, read from its own file, and a server to sync it to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from processes import quiet_environment


class Logged:
    """The offline run in a folder.

    Attributes:
        folder: `wandb/offline-run-…`.
        run: Its name, job type, group, tags and config.
        summary: Its final values; tables and charts are references.
        artifacts: In the order in which they were logged.
    """

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        self.folder = file.parent
        records = _records(file)
        self.run = next(record["run"] for record in records if record["type"] == "run")
        self.config: dict[str, Any] = self.run["config"]["update"]
        self.summary: dict[str, Any] = {}
        for record in records:
            if record["type"] == "summary":
                self.summary |= record["summary"]["update"]
        self.artifacts = [record["artifact"] for record in records if record["type"] == "artifact"]
        for record in records:
            if record["type"] == "config":
                self.config |= record["config"]["update"]

    def artifact(self, kind: str) -> dict[str, Any]:
        """The only artifact of this type."""
        (found,) = (artifact for artifact in self.artifacts if artifact["type"] == kind)
        return found

    def stored(self, artifact: dict[str, Any], name: str) -> Any:
        """A JSON file of an artifact."""
        return json.loads(Path(contents(artifact)[name]["local_path"]).read_text(encoding="utf-8"))

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table in the artifact of tables."""
        held = self.stored(self.artifact("tables"), f"{name}.table.json")
        return [dict(zip(held["columns"], row, strict=True)) for row in held["data"]]


def contents(artifact: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An artifact's files by name."""
    return {entry["path"]: entry for entry in artifact["manifest"]["contents"]}


def _records(file: Path) -> list[dict[str, Any]]:
    """A run file as W&B itself reads it, once its last record is there: the file may lag behind the run's end."""
    for _ in range(50):
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)],
            capture_output=True,
            text=True,
            env=quiet_environment(),
        )
        if done.returncode == 0 and '"exit"' in done.stdout:
            return [json.loads(line) for line in done.stdout.splitlines()]
        time.sleep(0.2)
    raise AssertionError(f"no complete run in {file}: {done.stdout[-500:]} {done.stderr[-500:]}")


_ANSWERS: dict[str, Any] = {
    "Viewer": {
        "viewer": {
            "id": "1",
            "entity": "me",
            "username": "me",
            "email": "me@me",
            "flags": "{}",
            "teams": {"edges": []},
        }
    },
    "RunResumeStatus": {"model": None},
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "UpsertBucket": {
        "upsertBucket": {
            "bucket": {
                "id": "1",
                "name": "run",
                "displayName": "run",
                "sweepName": None,
                "historyLineCount": 0,
                "project": {"id": "1", "name": "weakspot", "entity": {"id": "1", "name": "me"}},
            },
            "inserted": True,
        }
    },
    "UseArtifact": {"useArtifact": {"artifact": {"id": "1"}}},
}


@contextmanager
def listening() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """The address of a W&B server that takes artifacts, and the requests to it: operations and their input."""
    heard: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = json.loads(asked) if self.path == "/graphql" else {}
            found = re.search(r"(?:query|mutation)\s+(\w+)", said.get("query", ""))
            operation = found[1] if found else self.path
            put_in = (said.get("variables") or {}).get("input") or {}
            heard.append((operation, put_in))
            answer = _ANSWERS.get(operation, {})
            if operation == "CreateArtifact":  # the id identifies the artifact
                sequence = {"id": "1", "latestArtifact": None}
                made = {
                    "id": put_in["artifactCollectionName"],
                    "state": "COMMITTED",
                    "artifactSequence": sequence,
                }
                answer = {"createArtifact": {"artifact": made}}
            body = json.dumps({"data": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    with answered_by(Handler) as address:
        yield address, heard


@contextmanager
def answered_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on this machine that answers with `handler`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
