"""The command `weakspot doctor`: it reports what is installed, what the machine has, and how to fix what is missing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from weakspot import plugins
from weakspot.launch.choice_files import check_file
from weakspot.legible import printable
from weakspot.machine import cores, memory

_GB = 1 << 30
_OUTPUTS = Path("outputs")
_OWN_DATA = ("image_folder", "image_parquet", "webdataset")  # a user's own files, which nobody can download


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        state: "ok"; "missing" if something optional is missing; "broken" if nothing runs without it.
        text: What was found, and what to do if that is not enough.
    """

    name: str
    state: Literal["ok", "missing", "broken"]
    text: str


def main(words: Sequence[str]) -> int:
    """Print one line for each check.

    Args:
        words: The arguments: `root=FOLDER` to look for data there, `--json` to print a list of objects.

    Returns:
        The exit code: 1 if something required is broken, 2 for arguments that cannot be used.
    """
    parser = argparse.ArgumentParser(
        "weakspot doctor", description="Reports what is installed and what is missing."
    )
    parser.add_argument(
        "words", nargs="*", metavar="root=FOLDER", help="the folder of the datasets ($DATA_DIR, or data)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    chosen = parser.parse_args(words)
    for word in chosen.words:
        name, _, value = word.partition("=")
        if name != "root" or not value:
            parser.error(f"{word} is not an argument of doctor, which takes root=FOLDER and --json")
        os.environ["DATA_DIR"] = str(Path(value).expanduser())
    found = []
    for check in checks():
        found.append(check)
        if not chosen.json:
            print(f"{check.state:<8} {check.name:<24} {check.text}", flush=True)
    broken = [check.name for check in found if check.state == "broken"]
    if chosen.json:
        print(json.dumps([asdict(check) for check in found], indent=1, ensure_ascii=False))
    else:
        print(f"\nbroken: {', '.join(broken)}" if broken else "\nall requirements are met")
    return 1 if broken else 0


def checks() -> Iterator[Check]:
    """Check everything, and yield the results in the order in which a person fixes problems."""
    yield from _packages()
    yield from _torch()
    yield from _machine()
    yield _outputs(_OUTPUTS)
    yield from _data()
    yield from _plugins()
    yield _wandb()
    yield _browser()
    yield from _extras()


def _packages() -> Iterator[Check]:
    """Check Python, this package, and all of its requirements."""
    try:
        about = metadata("weakspot")
    except PackageNotFoundError:
        yield Check("weakspot", "broken", "it is not installed: run pip install -e . in its folder")
        return
    fits = SpecifierSet(about["Requires-Python"]).contains(platform.python_version())
    text = f"{platform.python_version()} on {platform.platform()}"
    wanted = f"; weakspot needs {about['Requires-Python']}"
    yield Check("Python", "ok" if fits else "broken", text if fits else text + wanted)
    yield Check("weakspot", "ok", f"{about['Version']} in {Path(__file__).parents[1]}")
    for requirement in _requirements(""):
        problem = _unmet(requirement)
        if problem is None:
            yield Check(requirement.name, "ok", version(requirement.name))
        else:
            yield Check(
                requirement.name, "broken", f"{problem}: run pip install '{_without_marker(requirement)}'"
            )


def _plugins() -> Iterator[Check]:
    """Check the plug-ins, and list the choices that they add."""
    for folder in plugins.folders():
        words = [
            f"{group}={word}"
            for group in ("dataset", "model", "method", "experiment")
            for word, origins in plugins.choices(group).items()
            if folder in origins
        ]
        yield Check(
            "plug-in",
            "ok",
            printable(f"{folder.origin} brings {', '.join(words) or 'no dataset, model or method'}"),
        )
        for group in sorted(folder.path.glob("*")):
            for file in plugins.choice_files(group):
                try:
                    check_file(file)
                except ValueError as error:
                    yield Check("plug-in", "broken", printable(str(error)))
    for sentence in plugins.missing_folders():
        yield Check("plug-in", "missing", printable(sentence))


def _requirements(extra: str) -> list[Requirement]:
    """Return what the package requires, or what an extra adds to that."""
    lines = map(Requirement, metadata("weakspot").get_all("Requires-Dist") or ())
    return [
        line
        for line in lines
        if (line.marker is None and not extra)
        or (
            line.marker
            and line.marker.evaluate({"extra": extra})
            and (not extra or not line.marker.evaluate({"extra": ""}))
        )
    ]


def _unmet(requirement: Requirement) -> str | None:
    """Return why a requirement is not met; None if it is."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return "it is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{found} is installed, and {requirement.specifier} is needed"


def _without_marker(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _torch() -> Iterator[Check]:
    """Check how torch was built, and which devices it finds."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a library that torch is linked with may be missing
        yield Check(
            "torch's build",
            "broken",
            f"it cannot be imported ({error}): install it again, see docs/install.md",
        )
        return
    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU"
    yield Check("torch's build", "ok", f"{torch.__version__}, {built}")
    with warnings.catch_warnings(record=True) as caught:  # torch reports a driver's problem as a warning
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        device = torch.cuda.get_device_properties(number)
        yield Check(f"GPU {number}", "ok", f"{device.name}, {device.total_memory / _GB:.0f} GB")
    if torch.backends.mps.is_available():
        yield Check("GPU", "ok", "Apple's, by MPS")
    elif not count:
        advice = (
            "nvidia-smi says whether a driver finds one"
            if torch.version.cuda
            else "docs/install.md says how to get a build for CUDA"
        )
        said = " ".join(str(caught[0].message).split()) if caught else advice
        yield Check("GPU", "missing", f"none, so everything runs on the CPU; {said}")


def _machine() -> Iterator[Check]:
    installed = memory()
    yield Check("CPU cores", "ok", f"{cores()} that may be used")
    yield Check("memory", "ok", "unknown" if installed is None else f"{installed / _GB:.0f} GB")


def _outputs(folder: Path) -> Check:
    """Check whether runs can be written, with a nameless temporary file."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0")
    except OSError as error:
        return Check(
            f"{folder}/", "broken", f"{place} cannot be written ({error.strerror}): run it in another folder"
        )
    return Check(
        f"{folder}/", "ok", f"{place} can be written, {shutil.disk_usage(place).free / _GB:.0f} GB are free"
    )


def _data() -> Iterator[Check]:
    """List the datasets that are there, and on one line those that are not."""
    from weakspot.commands.data_folders import SPLIT, data_folders, data_root

    absent = []
    for folder in data_folders():
        name = f"dataset={folder.dataset}"
        if folder.examples is not None:
            yield Check(name, "ok", f"{folder.examples} {SPLIT} examples in {folder.root}")
        elif folder.problem:
            yield Check(name, "missing", folder.problem)
        elif folder.dataset not in _OWN_DATA:
            absent.append(folder.dataset)
    if absent:
        where = "docs/datasets.md says where each comes from, and root=FOLDER looks elsewhere"
        yield Check("other datasets", "missing", f"not in {data_root()}: {', '.join(absent)}; {where}")


def _wandb() -> Check:
    from weakspot.tracking.login import describe_login

    fits, text = describe_login()
    return Check("W&B", "ok" if fits else "missing", text)


def _browser() -> Check:
    found = shutil.which("chromium")
    advice = "no chromium on the path, so the tests that open pages are skipped: apt-get install chromium"
    return Check("browser", "ok" if found else "missing", found or advice)


def _extras() -> Iterator[Check]:
    with suppress(PackageNotFoundError):
        for extra in sorted(metadata("weakspot").get_all("Provides-Extra") or ()):
            lacking = [line.name for line in _requirements(extra) if _unmet(line) is not None]
            advice = f"without {', '.join(lacking)}: pip install 'weakspot[{extra}]'"
            yield Check(f"extra {extra}", "missing" if lacking else "ok", advice if lacking else "installed")
