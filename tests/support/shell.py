"""The project's entry points, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from forked import run_forked
from paths import ROOT
from processes import quiet_environment

_READ_ON_IMPORT = ("HF_", "OMP_", "PYTHON")


class Shell:
    """Runs the project's entry points in one folder, each as its own process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, script: str, *words: str, fails: bool | int = False, **environment: str) -> str:
        """Standard output and error of `python script.py words…`; asserts that it ended as expected: without an error,
        with any error (True), or with this exit code."""
        code, output = self._run(ROOT / f"{script}.py", words, environment)
        ended = code != 0 if isinstance(fails, bool) else code
        assert ended == fails, output
        return output

    def _run(self, script: Path, words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and output. Libraries read some variables on import, so those need a new process, not a fork."""
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
