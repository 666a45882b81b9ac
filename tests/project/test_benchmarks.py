"""The benchmarks run from the command line, on small data."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT

BENCHMARKS = ROOT / "benchmarks"


def run(cwd: Path, script: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_the_imports_of_every_benchmark_work(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a name that moves in the project would break them unnoticed until the next measurement."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    assert callable(runpy.run_path(str(BENCHMARKS / script))["main"])


@pytest.mark.slow
def test_scale_measures_a_fit_of_each_size(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- scale -->\nold\n<!-- end of scale -->\nafter\n")
    words = (
        "--methods",
        "scan",
        "kmeans n_clusters=5",
        "--rows",
        "500",
        "900",
        "--dim",
        "8",
        "--docs",
        str(page),
    )
    said = run(tmp_path, "scale.py", *words)
    rows = re.findall(r"^\| (\S.*?) \| (\d+) \| .* \| (\d\.\d\d) \|$", said, re.MULTILINE)
    assert [row[:2] for row in rows] == [
        (method, n) for method in ("scan", "kmeans n_clusters=5") for n in ("500", "900")
    ]
    assert page.read_text().startswith("before\n")
    assert "| scan | 900 |" in page.read_text()


@pytest.mark.slow
@pytest.mark.optional  # takes half a minute, and the comparison is also run by hand
def test_inference_compares_ours_with_the_plain_loop(tmp_path: Path) -> None:
    words = ("--images", "20", "--batch", "10", "--rounds", "1", "--workers", "0")
    said = run(tmp_path, "inference.py", *words)
    row = r"^\| (\S.*?) \| \d+\.\d \| (?:\d+%)? \| \d+\.\d \| (?:\d+%)? \| [\d,]+ MiB \|"
    assert re.findall(row, said, re.MULTILINE) == [
        "synthetic",
        "synthetic, channels last",
        "loading",
        "plain loop, 0 workers",
        "ours, 0 workers",
    ]
