"""The functions behind train.py, infer.py, discover.py, browse.py and the console scripts."""

from __future__ import annotations

from weakspot.launch import run


def train() -> None:
    from weakspot.commands.train import main

    run("train", main)


def infer() -> None:
    from weakspot.commands.infer import main

    run("infer", main)


def discover() -> None:
    from weakspot.commands.discover import main

    run("discover", main)


def browse() -> None:
    from weakspot.commands.browse import main

    run("browse", main)
