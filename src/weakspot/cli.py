"""The entry points of train.py, infer.py, discover.py, browse.py and the console scripts."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from weakspot.launch.launcher import run
from weakspot.signals import quiet_on_broken_pipe

_SCRIPTS = {
    "train": "trains a model",
    "infer": "runs it on a dataset",
    "discover": "does both if needed, finds slices, writes a report",
    "browse": "shows all runs in a browser",
    "mcp": "serves runs to programs that speak the Model Context Protocol",
}
"""Commands with a console script of their own, `weakspot-train` and so on."""

_COMMANDS = _SCRIPTS | {
    "doctor": "shows what is installed and what is missing",
    "schema": "prints the JSON Schema of findings.json",
}


def main() -> None:
    """Run `weakspot COMMAND WORDS…`, or list the commands."""
    command, words = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command == "doctor":
        from weakspot.commands import doctor

        with quiet_on_broken_pipe():
            sys.exit(doctor.main(words))
    if command == "schema":
        from weakspot.findings.json_schema import json_schema_text

        print(json_schema_text(), end="")
        return
    if command in _SCRIPTS:
        _exec_script(f"weakspot-{command}", words)
    if command in ("", "-h", "--help"):
        print("weakspot COMMAND [WORDS]; weakspot COMMAND --help shows the manual of a command\n")
        print("\n".join(f"  {name:<9} {sentence}" for name, sentence in _COMMANDS.items()))
        return
    print(f"There is no command {command!r}. There are: {', '.join(_COMMANDS)}.", file=sys.stderr)
    sys.exit(2)


def _exec_script(script: str, words: list[str]) -> None:
    """Replace this process by the console script, so that processes that a job starts run the same command line."""
    found = shutil.which(script, path=sysconfig.get_path("scripts"))
    if found is None:
        print(f"{script} is not installed: run pip install -e . in weakspot's folder", file=sys.stderr)
        sys.exit(1)
    os.execv(found, [found, *words])


def train() -> None:
    from weakspot.commands.sweep_summary import print_sweep_summary
    from weakspot.commands.train import main

    run("train", main, print_sweep_summary)


def infer() -> None:
    from weakspot.commands.infer import main
    from weakspot.commands.sweep_summary import print_sweep_summary

    run("infer", main, print_sweep_summary)


def discover() -> None:
    from weakspot.commands.discover import main
    from weakspot.commands.sweep_summary import print_sweep_summary

    run("discover", main, print_sweep_summary)


def browse() -> None:
    from weakspot.commands.browse import main

    run("browse", main)


def mcp() -> None:
    from weakspot.commands.mcp import main

    sys.exit(main(sys.argv[1:]))
