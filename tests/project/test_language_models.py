"""The scripts of docs/language_models.md, run unchanged, lead to a confirmed slice that is named by its words."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from page_scripts import page_scripts
from shell import Shell
from tiny_models import write_model


@pytest.mark.slow
def test_prompts_that_are_answered_badly_are_found_and_named_by_their_words(shell: Shell) -> None:
    scripts = page_scripts("language_models.md")
    run(shell, scripts["evaluation.py"])
    rows = [json.loads(line) for line in (shell.folder / "scored.jsonl").read_text().splitlines()]
    write_model(shell.folder / "encoder", [row["prompt"] for row in rows], head="Model")
    run(shell, scripts["embed.py"].replace("sentence-transformers/all-MiniLM-L6-v2", "encoder"))

    said = shell("discover", "predictions=my.jsonl", "logger=none")
    assert "confirmed" in said
    findings = json.loads(next(shell.folder.glob("**/findings.json")).read_text())
    (finding, *_) = findings["findings"]
    words = {word["text"] for word in finding["portrait"]["words"]}
    assert words & {"left", "over", "left over", "apples", "children"}, words
    remainders = sum("left over" in row["prompt"] for row in rows)
    assert abs(finding["examples"] - remainders) < 0.2 * remainders
    page = shell.reports()[0].read_text()
    assert "apples are shared out among" in page


def run(shell: Shell, script: str) -> None:
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=shell.folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=True,
    )
