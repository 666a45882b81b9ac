"""What every test shares: checked shapes, and entry points run as a user runs them, in a folder of their own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from shell import Shell

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


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as behind `nohup` or `&`; what the tests start inherits that, and some of it is to hear Ctrl+C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which one short run has trained and inferred on colored_digits."""
    shell = Shell(tmp_path_factory.mktemp("digits"))
    shell("infer", "logger=none", "training.epochs=1")
    return shell
