"""The files of docs/extending.md: each code block follows a line with the file's name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from paths import ROOT

PAGE = ROOT / "docs" / "extending.md"


@cache
def files() -> dict[str, str]:
    """The text of every file on the page by its name."""
    blocks = re.findall(
        r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return dict(blocks)


def commands() -> list[str]:
    """The arguments of every `python discover.py` on the page."""
    return re.findall(r"^    python discover\.py (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def write_files(folder: Path, package: str = "") -> None:
    """Write the files of the page into a folder, or into a package in it to be installed from pyproject.toml."""
    inside = folder / package
    inside.mkdir(parents=True, exist_ok=True)
    if package:
        (inside / "__init__.py").touch()
    for name, text in files().items():
        if name == "pyproject.toml":
            if package:
                (folder / name).write_text(text)
            continue
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        if package:
            text = re.sub(r"_target_: (\w+)\.", rf"_target_: {package}.\1.", text)
        (inside / name).write_text(text)
