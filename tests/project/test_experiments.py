"""The papers' experiments: the table of docs/experiments.md states what they set and where they deviate."""

from __future__ import annotations

import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from paths import ROOT
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
SPOTLIGHTS = [name for name in EXPERIMENTS if name.startswith("spotlight")]
PAGE = (ROOT / "docs" / "experiments.md").read_text()

register()


def composed(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("discover", list(overrides))


def rows() -> list[tuple[str, list[str]]]:
    """Every experiment of the table, and the settings that the table lists for it."""
    lines = PAGE.partition("| experiment | published |")[2].splitlines()
    cells = [re.findall(r"\| (.*?) (?=\|)", line) for line in lines if line.startswith("| `")]
    return [(name.strip("`"), here.strip("`").split()) for name, _, here, _ in cells]


def test_the_table_lists_all_experiments() -> None:
    assert sorted(name for name, _ in rows()) == EXPERIMENTS
    assert all(f"`experiment={name}`" in PAGE for name in EXPERIMENTS)


@pytest.mark.parametrize(("name", "words"), rows(), ids=[name for name, _ in rows()])
def test_the_table_states_the_settings_of_each_experiment(name: str, words: list[str]) -> None:
    assert len(words) > 2
    said = composed(f"experiment={name}", *words)
    assert said == composed(f"experiment={name}")
    assert said != composed(f"experiment={name}", *words[:-1], f"{words[-1].partition('=')[0]}=3")


@pytest.mark.parametrize("name", SPOTLIGHTS)
def test_the_page_states_the_settings_that_all_spotlights_share(name: str) -> None:
    words = re.search(r"Here: `(method\.search=.*?)`", PAGE)
    assert words is not None
    assert composed(f"experiment={name}", *words[1].split()) == composed(f"experiment={name}")


def test_sizes_are_those_of_the_published_scripts() -> None:
    """For the WILDS datasets, the published notebook uses int(share * examples)."""
    sizes = {
        "amazon": 1000,
        "fairface": 219,
        "imagenet": 1000,
        "iwildcam_id": int(0.02 * 8154),
        "iwildcam_ood": int(0.02 * 42791),
        "movielens": 1000,
        "squad": 539,
        "waterbirds": int(0.01 * 5794),
        "xray": 104,
    }
    assert {name: composed(f"experiment=spotlight_{name}").method.min_size for name in sizes} == sizes
    assert [f"spotlight_{name}" for name in sizes] == SPOTLIGHTS
