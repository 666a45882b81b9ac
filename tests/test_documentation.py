"""README and docs: every command on them is one that the project takes, and every block of Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from conftest import ROOT
from weakspot import overrides
from weakspot.config import CONFIGS, register

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ENTRY_POINTS = ("train", "infer", "discover", "browse")
FLAGS = {"--help", "-m", "--multirun", "--cfg", "job", "--config-dir", "conf"}

register()


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """The code blocks of a page: the line they begin in, their language ("" where indented), and their text."""
    lines, start = page.read_text(encoding="utf-8").splitlines(), 0
    while start < len(lines):
        fence = re.match(r"( *)```(\w*)", lines[start])
        end = start + 1
        if fence:
            while not lines[end].startswith(f"{fence[1]}```"):
                end += 1
            yield start + 1, fence[2], "\n".join(lines[start + 1 : end])
        elif lines[start].startswith("    ") and (start == 0 or not lines[start - 1].strip()):
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            yield start + 1, "", "\n".join(line[4:] for line in lines[start:end])
        start = end + 1 if fence else end


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command in a block of README and docs, as its words, with the page and line that it stands in."""
    for page in PAGES:
        for number, language, text in blocks(page):
            if language not in ("", "bash"):
                continue
            for offset, line in enumerate(re.sub(r"\\\n *", "", text).splitlines()):
                for command in re.sub(r"(^|\s)# .*", "", line).split(" && "):
                    if re.match(r"([A-Z_]+=\S+ )*(python|torchrun|srun|weakspot)", command):
                        words = shlex.split(re.sub(r"<[^>]*>|…", "PLACE", command))
                        yield f"{page.relative_to(ROOT)}:{number + offset}", words


def of_entry_point(words: list[str]) -> tuple[str, list[str]] | None:
    """The entry point that a command runs and its own words; None if it runs another program."""
    for position, word in enumerate(words):
        name = word.removesuffix(".py").removeprefix("weakspot-")
        if name in ENTRY_POINTS and word != name:
            return name, words[position + 1 :]
    return None


COMMANDS = list(commands())
JOBS = [(where, *job) for where, words in COMMANDS if (job := of_entry_point(words))]
SCRIPTS = [
    (where, words)
    for where, words in COMMANDS
    if re.search(r" (benchmarks|sweeps|tests|docs)/\w+\.py", " ".join(words))
]


@pytest.mark.parametrize(("where", "name", "words"), JOBS, ids=[f"{job[0]}-{job[1]}" for job in JOBS])
def test_a_command_is_one_that_the_entry_point_takes(where: str, name: str, words: list[str]) -> None:
    flags = [word for word in words if "=" not in word]
    assert set(flags) <= FLAGS, where
    if "--config-dir" in flags or any(word.startswith("hydra/") for word in words):
        return  # a page's own YAML is tried by the page's own test; launchers and sweepers may not be installed
    settings = overrides.readable([word for word in words if "=" in word])
    chosen = [
        f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
        if override.is_sweep_override()
        else text
        for override, text in zip(OverridesParser.create().parse_overrides(settings), settings, strict=True)
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose(name, chosen)
    overrides.check(composed, chosen)


@pytest.mark.parametrize(("where", "words"), SCRIPTS, ids=[where for where, _ in SCRIPTS])
def test_a_script_is_there_and_knows_its_options(where: str, words: list[str]) -> None:
    (script,) = (word for word in words if word.endswith(".py"))
    source = (ROOT / script).read_text(encoding="utf-8")
    options = {word.partition("=")[0] for word in words[words.index(script) :] if word.startswith("--")}
    helped = {f"--{name.replace('_', '-')}" for name in re.findall(r"\"--([\w-]+)\"", source)}
    assert options <= helped, where


def test_commands_were_found() -> None:
    assert len(JOBS) > 100
    assert len(SCRIPTS) > 10
