"""What every test shares: entry points run as a user runs them, in a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from forked import run_forked

# Workers inherit it: two of them on two cores, computing in two threads each that spin while they wait, take twice the
# processor's time. Whoever says how many threads there are to be is heard.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# annotated shapes are checked in every test; not where tests pass wrong ones on purpose, nor in compiled kernels
install_import_hook(
    [
        "weakspot.predictions",
        "weakspot.slices",
        "weakspot.explain.attributes",
        "weakspot.models",
        *(f"weakspot.evaluation.{name}" for name in ("contrasts", "ranks", "splitting")),
    ],
    "beartype.beartype",
)

ROOT = Path(__file__).parents[1]
_READ_ON_IMPORT = ("HF_", "OMP_", "PYTHON")


class Shell:
    """Runs the project's entry points as processes of their own in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, script: str, *words: str, fails: bool | int = False, **environment: str) -> str:
        """Standard output and error of `python script.py words…`; asserts that it ended as expected: in no error, in
        any (True), or with this exit code."""
        code, output = self._run(ROOT / f"{script}.py", words, environment)
        ended = code != 0 if isinstance(fails, bool) else code
        assert ended == fails, output
        return output

    def _run(self, script: Path, words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and output. What libraries read of an environment they read when they are imported."""
        here = quiet_environment()
        changed = [name for name, value in environment.items() if here.get(name) != value]
        if not any(name.startswith(_READ_ON_IMPORT) for name in changed):
            return run_forked(script, words, self.folder, here | environment)
        done = subprocess.run(
            [sys.executable, str(script), *words],
            cwd=self.folder,
            env=here | environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        return done.returncode, done.stdout + done.stderr

    def reports(self) -> list[Path]:
        return sorted(self.folder.glob("**/report.html"))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as behind `nohup` or `&`; what the tests start inherits that, and some of it is to hear Ctrl+C
    signal.signal(signal.SIGINT, signal.default_int_handler)


def quiet_environment() -> dict[str, str]:
    """This process's environment without what one test, or a launcher, could hand to another."""
    private = ("WANDB_", "WEAKSPOT_", "PL_", "LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_", "HYDRA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "WANDB_API_KEY": "", "PYTHONWARNINGS": "default"}


@contextmanager
def ended_with(processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """No process outlives the block, whatever ends it."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which one short run has trained and inferred on colored_digits."""
    shell = Shell(tmp_path_factory.mktemp("digits"))
    shell("infer", "logger=none", "training.epochs=1")
    return shell
