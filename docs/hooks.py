"""What mkdocs adds while it builds the site, so that it cannot be out of date: every setting of the configuration, from
its schemas, and the layers of the architecture, from the import contract."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from weakspot import methods
from weakspot.config import manual

ROOT = Path(__file__).parents[1]
JOB = {
    "job": "All of `train.py`, `infer.py` and `discover.py`",
    "training": "`train.py`",
    "inference": "`infer.py`",
    "report": "The report",
    "fail_if": "A gate",
    "reweight": "Mending",
    "browse": "`browse.py`",
}
"""The parts of the configuration beside the methods, and their headings."""

WHAT_FOR = {
    "cli": "the entry points",
    "commands": "one file per command: from a configuration to objects",
    "launch": "runs the job of a command line: settings and options, sweeps, errors, signals",
    "config": "schemas, the words of each group, `--help`, and the way from a configuration to objects",
    "app": "the live explorer (browse.py)",
    "pipeline": "train, infer, discover: functions on objects",
    "report": "findings as one self-contained page",
    "tracking": "findings to W&B, TensorBoard, CSV, the console",
    "figures": "findings as figures for papers",
    "findings": "the one record of everything that is stated about slices",
    "testing": "what every dataset, model and method has to pass",
    "evaluation": "held-out tests, stability: pure functions",
    "datasets": "one file per dataset",
    "models": "one file per family of networks",
    "methods": "one file or folder per discovery method: arrays in, slices out",
    "explain": "Grad-CAM, enrichment, distinctive words: pure functions",
    "interop": "the published tools' files",
    "slices": "what a method found: memberships and how to apply them",
    "predictions": "a model's predictions for every example, and their files",
    "tasks": "classification, several labels, question answering, rating, regression",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what is generated where a page asks for it."""
    return markdown.replace("<!-- layers -->", layers()).replace("<!-- settings -->", settings())


def settings() -> str:
    """Return a Markdown table of settings, with defaults and help, for each part of the configuration."""
    headings = JOB | {word: f"`method={word}`" for word in methods.words()}
    return "\n\n".join(f"## {heading}\n\n{table(part)}" for part, heading in headings.items())


def table(part: str) -> str:
    """Return one part's settings as a Markdown table."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for name, default, help in manual.settings_of(part):
        rows.append(f"| `{name}` | `{default}` | {help.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def layers() -> str:
    """Return the layers of the import contract, highest first, as a Markdown table."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract_layers = max(
        (contract.get("layers", []) for contract in settings["tool"]["importlinter"]["contracts"]), key=len
    )
    rows = ["| layer | packages |", "|---|---|"]
    for number, layer in zip(range(len(contract_layers), 0, -1), contract_layers, strict=True):
        names = [name.strip().removeprefix("weakspot.") for name in layer.split("|")]
        packages = (f"**{name}**: {WHAT_FOR[name]}" if name in WHAT_FOR else f"`{name}`" for name in names)
        rows.append(f"| {number} | {'<br>'.join(packages)} |")
    return "\n".join(rows)
