"""What a command costs when checkpoint and predictions exist already: `python benchmarks/startup.py`.

    python benchmarks/startup.py                      # this checkout
    python benchmarks/startup.py /path/to/another     # and another one, in turns with it
    python benchmarks/startup.py /path/to/another --docs docs/scale.md

One run trains and infers on colored_digits in a temporary folder. Then each command is run `--rounds` times, and the
medians are printed: CPU seconds, which other work on the machine affects little, and wall-clock seconds; for another
checkout also this one's CPU seconds as a share of its own. *Imports* lists the heavy libraries that a command imports.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from planted.pages import write_between

HERE = Path(__file__).parents[1]
HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "transformers", "torchvision", "matplotlib", "wandb")
_IMPORTED = re.compile(r"^import time:.*\| +(\w+)", re.MULTILINE)


def commands(predictions: Path) -> dict[str, list[str]]:
    """Return the words of each command that is measured, by its name."""
    given = f"predictions={predictions}"
    return {
        "--cfg job": ["--cfg", "job"],
        "predictions=FOLDER method=random logger=none": [given, "method=random", "logger=none"],
        "predictions=FOLDER": [given],
        "method=random logger=none": ["method=random", "logger=none"],
        "logger=none": ["logger=none"],
        "": [],
    }


def run(
    checkout: Path, folder: Path, script: str, words: list[str], **extra: str
) -> tuple[float, float, str]:
    """Run a script; return CPU seconds, wall-clock seconds and standard error."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "WANDB_MODE": "offline",
        "HF_HUB_OFFLINE": "1",
        **extra,
    }
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(checkout / f"{script}.py"), *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        _, status, used = os.wait4(process.pid, 0)
        clock = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        stderr = said.read()
    if process.returncode:
        raise SystemExit(f"{script}.py {' '.join(words)} of {checkout} failed:\n{stderr}")
    return used.ru_utime + used.ru_stime, clock, stderr


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "others", nargs="*", type=Path, help="further checkouts, measured in turns with this one"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    asked = parser.parse_args()
    checkouts = [HERE, *(other.resolve() for other in asked.others)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(HERE, folder, "infer", ["logger=none"])
        (predictions,) = (path.parent for path in folder.glob("outputs/predictions/*/manifest.json"))
        measured = commands(predictions)
        imported = {}
        for checkout in reversed(checkouts):  # this one last
            for called, words in measured.items():  # which also compiles what is compiled on first use
                stderr = run(checkout, folder, "discover", words, PYTHONPROFILEIMPORTTIME="1")[2]
                names = set(_IMPORTED.findall(stderr))
                imported[called] = [library for library in HEAVY if library in names]
        seconds = defaultdict(list)
        for _ in range(asked.rounds):
            for called, words in measured.items():
                for checkout in checkouts:
                    seconds[called, checkout].append(run(checkout, folder, "discover", words)[:2])
    heads = ["CPU", "clock", "imports"]
    for other in checkouts[1:]:
        heads += [f"CPU, {other.name}", "share of it"]
    lines = [f"| with everything there | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for called in measured:
        (own, clock), *others = (
            [median(values) for values in zip(*seconds[called, checkout], strict=True)]
            for checkout in checkouts
        )
        cells = [f"{own:.2f} s", f"{clock:.2f} s", ", ".join(imported[called]) or "none of them"]
        for theirs, _ in others:
            cells += [f"{theirs:.2f} s", f"{own / theirs:.0%}"]
        lines.append(f"| `{f'python discover.py {called}'.rstrip()}` | {' | '.join(cells)} |")
    print("\n".join(lines))
    if asked.docs:
        write_between(asked.docs, "start-up", "\n".join(lines))


if __name__ == "__main__":
    main()
