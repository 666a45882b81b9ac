"""Shared by all tests: checks of annotated shapes, and entry points run as a user runs them in a temporary folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from shell import Shell

# Inherited by the workers: two of them on two cores with two threads each, which spin while they wait, take twice the
# processor time. A number of threads that is already set is kept.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# annotated shapes are checked in every test, except in modules to which tests pass wrong ones on purpose and in
# compiled kernels
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
    # ignored behind `nohup` or `&`: processes that tests start inherit this, and some of them must receive Ctrl+C
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
