"""Hostile words on a command line: composed as for a run, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mutations import attempt, mutated
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.launch.options import CommandLine
from weakspot.launch.quoting import quote_for_hydra
from weakspot.launch.setting_checks import check_settings
from weakspot.launch.setting_errors import explain_line

_LINES = (
    "dataset=digits model=small_cnn method=spotlight method.n_slices=3 seed=1",
    "dataset=csv dataset.file=a,b.csv dataset.classes=[cat,dog] method=udis method.accuracy_threshold=0.8",
    "predictions=p.npz method=scan confirm=0.5 split=test",
    "compare=a,b fail_if=worse",
    "tree=t.json method=udis method.accuracy_threshold=0.8",
    "model=user model.path=m:Net model.kwargs={width:3} cam=grad_cam",
    "dataset=digits reweight=outputs/x encoder=null trainer.accelerator=cpu +trainer.max_time=1",
    "slices=[a,b] predictions=p.npz logger=none",
)
_ODD = (
    "", "=", "==", "a", "[", "]", "[[", "{", "}", "{a:}", "'", '"', "\\'", "${", "${x}", "${oc.env:NONE}",
    "${now:%Y}", "???",
    "null", "None", "true", "1e999", "nan", "-1", "9" * 400, "0x10", "1_0", "~", "~method", "+", "++a=1", "@",
    "a@b=c", "é",
    "\ud800", "\0", "\n", "\t", " ", ",", ",,", "range(1,3)", "choice(", "glob(*)", "sort(3,1)", "$(", "`", "%s", "{0}",
    "[" * 200, "{a:" * 100, "method.n_slices", "hydra.run.dir=/dev/null", "hydra/launcher=x", "--help", "-m",
    "experiment=x",
)  # fmt: skip


class WordCases:
    """Command lines of `discover.py` with damaged words.

    Args:
        folder: Not used; each line is composed in this process.
    """

    def __init__(self, folder: Path) -> None:
        register()

    def outcome(self, seed: Sequence[int], steps: Sequence[int]) -> str:
        rng = np.random.default_rng([*seed])
        words = _LINES[rng.integers(len(_LINES)) if steps else 0].split()
        for step in steps:
            words = damaged_words(words, np.random.default_rng(step))
        return attempt(lambda: _composed(words), None, seconds=60)  # an invalid line is composed word by word


def _composed(words: Sequence[str]) -> None:
    """Compose a line as the launcher does; raise ValueError with its message if it is refused."""
    quoted = quote_for_hydra([word for word in words if not word.startswith("-")])  # options are Hydra's
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose("discover", quoted)
        check_settings(config, quoted)
        OmegaConf.to_container(config, resolve=True)
    except Exception as error:
        sentence = explain_line("discover", error, CommandLine([], quoted, False, None))
        if sentence is None:
            raise
        if not sentence.strip():
            raise AssertionError("an empty sentence") from error
        raise ValueError(sentence.replace("\n", " ")) from None


def damaged_words(words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The words of a line, with one of them damaged."""
    found: list[Any] = list(words)
    if not found:
        return [_ODD[rng.integers(len(_ODD))]]
    at, odd = int(rng.integers(len(found))), _ODD[rng.integers(len(_ODD))]
    key, sign, value = found[at].partition("=")
    match rng.integers(7):
        case 0:
            found[at] = mutated(found[at].encode("utf-8", "replace"), [int(rng.integers(2**32))]).decode(
                "utf-8", "replace"
            )
        case 1:
            found[at] = f"{key}={odd}"
        case 2:
            place = int(rng.integers(len(value) + 1))
            found[at] = f"{key}{sign}{value[:place]}{odd}{value[place:]}"
        case 3:
            place = int(rng.integers(len(key) + 1))
            found[at] = f"{key[:place]}{odd}{key[place:]}{sign}{value}"
        case 4:
            found.insert(at, odd)
        case 5:
            found.append(found[at])
        case _:
            found[at] = odd + found[at]
    return found
