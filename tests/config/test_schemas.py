"""The defaults of a method on the command line are those of its class in Python, which the benchmarks measure."""

from __future__ import annotations

from dataclasses import fields
from inspect import signature

import pytest
import yaml

from weakspot.config.choices import CONFIGS
from weakspot.config.schemas import SpotlightConfig, UDISConfig
from weakspot.methods.registry import find

SCHEMAS = {"spotlight": SpotlightConfig, "udis": UDISConfig}
WORDS = sorted(file.stem for file in (CONFIGS / "method").glob("*.yaml"))


@pytest.mark.parametrize("word", WORDS)
def test_a_default_is_the_same_on_the_command_line_and_in_python(word: str) -> None:
    written = yaml.safe_load((CONFIGS / "method" / f"{word}.yaml").read_text(encoding="utf-8"))
    schema = {one.name: one.default for one in fields(SCHEMAS[word])} if word in SCHEMAS else {}
    # a value taken from elsewhere in the command, such as the run's seed, is not a default of the method
    typed = {
        name: value
        for name, value in {**schema, **written}.items()
        if name not in ("_target_", "defaults") and not str(value).startswith("${")
    }
    in_python = {name: one.default for name, one in signature(find(word)).parameters.items()}
    own = {name: in_python[name] for name in typed}
    assert typed == {name: list(one) if isinstance(one, tuple) else one for name, one in own.items()}
