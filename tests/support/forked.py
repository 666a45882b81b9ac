"""Entry points as processes of their own, forked from one that has imported what they import.

Importing torch, SciPy and Lightning takes longer than most of what tests have an entry point do. The parent starts no
thread and computes nothing; each fork has its own folder, environment and files, and ends like any other process.

    python tests/support/forked.py      reads one job per line, answers with its exit code
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

_IMPORTED = (  # not wandb: importing it makes a folder, which the first fork to end would remove
    "hydra",
    "jinja2",
    "PIL.Image",
    "pyarrow.parquet",
    "pytorch_lightning",
    "scipy.sparse",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.linear_model",
    "sklearn.mixture",
    "torchmetrics",
    "torchvision",
    "weakspot.commands.discover",
    "weakspot.commands.infer",
    "weakspot.commands.train",
    "weakspot.methods.scan",
    "weakspot.methods.spotlight",
    "weakspot.methods.udis",
    "weakspot.pipeline.discover",
    "weakspot.pipeline.infer",
    "weakspot.pipeline.train",
    "weakspot.report",
)


def run_forked(
    script: Path, words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """The exit code of `python script words…` in `folder`, and its standard output followed by its standard error."""
    server = _server()
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as errors:
        job = {
            "script": str(script),
            "words": list(words),
            "folder": str(folder),
            "environment": dict(environment),
            "files": [out.name, errors.name],
        }
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            answer = server.stdout.readline()
        except BaseException:
            _end(server)  # a test timed out: the next job gets a new process, so no late answer
            raise
        if not answer:
            _end(server)
            raise RuntimeError("the process that entry points are forked from has ended")
        return int(answer), out.read() + errors.read()


@cache
def _server() -> subprocess.Popen[str]:
    from processes import quiet_environment

    server = subprocess.Popen(
        [sys.executable, __file__],
        env=quiet_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    _server.cache_clear()
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    for pipe in (server.stdin, server.stdout):
        if pipe is not None and not pipe.closed:
            pipe.close()


def _serve() -> None:
    for name in _IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()  # else reference counts would make a fork copy every page
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(job: dict[str, Any]) -> None:
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    for descriptor, file in enumerate((os.devnull, *job["files"])):
        os.dup2(os.open(file, os.O_WRONLY if descriptor else os.O_RDONLY), descriptor)
    script = job["script"]
    sys.argv = [script, *job["words"]]
    sys.path[0] = str(Path(script).parent)
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # skips the teardown of everything imported


if __name__ == "__main__":
    _serve()
