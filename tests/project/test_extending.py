"""docs/extending.md: its commands compose with its files; tests/commands/test_plugins.py runs them as a package."""

from __future__ import annotations

import gc
import re
import shlex
import sys
from dataclasses import fields, replace
from importlib import import_module

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import extending_page
import weakspot.testing
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.tasks import Classification
from weakspot.testing.methods import check_failing_group


@pytest.mark.parametrize("line", extending_page.commands())
def test_a_command_composes_with_the_files_of_the_page(line, tmp_path, monkeypatch):
    extending_page.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("discover", shlex.split(line))
    assert composed.dataset._target_ == "stripes.Stripes"


def test_the_files_of_the_page_compile():
    python = {name: text for name, text in extending_page.files().items() if name.endswith(".py")}
    assert {*python} == {"stripes.py", "lines.py", "ball.py"}
    for name, text in python.items():
        compile(text, name, "exec")


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """The page's modules, importable during the test and removed afterwards."""
    extending_page.write_files(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield {name: import_module(name) for name in ("stripes", "lines", "ball")}
    for name in ("stripes", "lines", "ball"):
        sys.modules.pop(name)
    gc.collect()  # otherwise `Method.__subclasses__` would still list the method


def test_each_example_fulfils_its_contract(modules):
    """Checked by the lines on the page."""
    text = extending_page.PAGE.read_text(encoding="utf-8")
    checks = re.findall(r"^    (check_\w+\(.*\))$", text, flags=re.MULTILINE)
    assert len(checks) == 3
    names = {
        "Stripes": modules["stripes"].Stripes,
        "Lines": modules["lines"].Lines,
        "Ball": modules["ball"].Ball,
    }
    for line in checks:
        exec(line, vars(weakspot.testing) | names | {"torch": torch, "Classification": Classification})


def test_the_page_names_every_check_of_a_method_and_every_way_to_opt_out():
    text = extending_page.PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(check_\w+)` \|", text, flags=re.MULTILINE)
    assert rows == [check.__name__ for check in weakspot.testing.METHOD_CHECKS]
    attributes = {field.name for field in fields(weakspot.testing.MethodCase)} - {"make"}
    assert {*re.findall(r"`(\w+)=(?:True|False)`", text)} == attributes


def test_missing_the_planted_group_is_reported_with_what_was_planted_and_how_to_opt_out(modules):
    class Elsewhere(modules["ball"].Ball):
        """Searches for the ball in which losses are lowest."""

        def fit(self, p, callback=None):
            return super().fit(replace(p, losses=-p.losses), callback)

    with pytest.raises(AssertionError) as said:
        check_failing_group(weakspot.testing.MethodCase(Elsewhere))
    assert re.match(
        r"the failing group was not found: in example_predictions\(\), \d+ of 160 examples lie together \(attributes"
        r'\["group"\] is "0"\) and \d+ of them are wrong; the first slice has a weight of \d+, of which \d+ % is in',
        str(said.value),
    )
    assert str(said.value).endswith("MethodCase(…, finds_a_region=False)")
