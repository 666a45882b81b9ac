"""docs/extending.md: its commands compose with its files; tests/test_plugins.py runs them, as a package."""

from __future__ import annotations

import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import extending_page
from weakspot.config import CONFIGS, register


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
