"""Every line of the README's "Use it", run as printed, one after the other in one folder.

`pytest -m "slow and optional" tests/project/test_readme_commands.py` takes about ten minutes on two cores. What each
line does is tested elsewhere on less data; tests/project/test_documentation.py composes it like every other command.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paths import ROOT
from shell import Shell

pytestmark = [pytest.mark.slow, pytest.mark.optional, pytest.mark.timeout(3600)]

NOT_RUN = {
    "training.epochs=5": "five epochs of a ResNet-18 take an hour on a CPU",
    "trainer.devices=4": "there are no four GPUs",
}
ENDS_WITH = {"fail_if.accuracy_below": 3, "dataset=fashion_mnist": 2, "experiment=spotlight_fairface": 2}
"""Exit codes: a gate that finds a failing slice, and missing data, which a message reports."""


def lines() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Use it\n\n```bash\n(.*?)```", text, flags=re.DOTALL)
    return [line.partition("  #")[0].rstrip() for line in block.splitlines()]


def predictions(file: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(600, 8)).astype(np.float32), rng.integers(0, 2, 600)
    right = rng.random(600) < np.where(x[:, 0] > 1, 0.3, 0.95)
    logits = np.eye(2)[np.where(right, labels, 1 - labels)] * 3 + rng.normal(size=(600, 2)) * 0.2
    np.savez(file, embeddings=x, labels=labels, outputs=logits)


def table_of_images(file: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for i in range(60):
        pixels = rng.integers(0, 120, (32, 32, 3)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(file.with_name(f"{i}.png"))
        rows.append(f"{i}.png,{'ab'[i % 2]}")
    file.write_text("\n".join(rows))


def test_each_line_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    predictions(tmp_path / "my.npz", 0)
    predictions(tmp_path / "new.npz", 1)
    table_of_images(tmp_path / "images.csv")
    shell("discover", "hydra.run.dir=first")
    shell("discover", "predictions=my.npz", "hydra.run.dir=given")
    shell("discover", "seed=1", "hydra.run.dir=second")
    ran = 0
    for line in lines():
        line = line.replace("compare=[RUN,RUN]", "compare=[first,second]").replace(
            "slices=RUN", "slices=given"
        )
        python, script, *words = shlex.split(line.replace("reweight=RUN", "reweight=first"))
        assert python == "python", line
        if any(word in line for word in NOT_RUN):
            continue
        expected = next((code for word, code in ENDS_WITH.items() if word in line), 0)
        output = shell(script.removesuffix(".py"), *words, fails=expected or False)
        ran += 1
        if expected == 2:
            assert "set dataset.root" in output, output
        elif expected == 0 and "--help" not in line:
            assert "→" in output, line
    assert ran >= 14
