"""The sources of the pages: lines of readable length, and a single palette."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

_FOLDERS = [Path(str(files(package))) for package in ("weakspot.report", "weakspot.app")]
SOURCES = [
    path
    for folder in _FOLDERS
    for path in sorted(folder.rglob("*"))
    if path.suffix in (".js", ".css", ".jinja")
]


def test_there_are_templates_scripts_and_styles():
    assert {path.suffix for path in SOURCES} == {".js", ".css", ".jinja"}
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_line_is_longer_than_120(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert {number: line for number, line in enumerate(lines, 1) if len(line) > 120} == {}


def test_each_colour_is_defined_once_for_light_and_once_for_dark():
    said: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.suffix == ".css":
            for name in re.findall(r"(--[a-z]+):\s*#", path.read_text(encoding="utf-8")):
                said.setdefault(name, []).append(path.name)
    assert said.pop("--paper") == ["base.css", "base.css", "style.css"]  # the last is for print
    assert set(map(tuple, said.values())) == {("base.css", "base.css")}
