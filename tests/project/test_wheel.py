"""The wheel is built and installed: it contains all that a run needs, and runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from paths import ROOT
from processes import quiet_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and source archive, built offline by the backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("dist")
    program = (
        "import sys; from hatchling import build as b; b.build_wheel(sys.argv[1]); b.build_sdist(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_and_the_source_archive_contain_the_required_files(built: Path) -> None:
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert not [name for name in names if not name.startswith(("weakspot/", "weakspot-"))]
    for inside in ("configs/discover.yaml", "report/style.css", "app/static/app.js", "py.typed"):
        assert f"weakspot/{inside}" in names
    with tarfile.open(archive) as tar:
        packed = tar.getnames()
    assert any(name.endswith("configs/discover.yaml") for name in packed)


def test_the_installed_wheel_runs_outside_the_checkout(built: Path, tmp_path: Path) -> None:
    """Only the wheel is installed; the packages that it requires are those of this environment."""
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (site,) = (tmp_path / "venv").glob("**/site-packages")
    environment = {name: value for name, value in quiet_environment().items() if name != "PYTHONPATH"}

    def run(*line: str | Path) -> str:
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(scripts / "python", "-m", "pip", "install", "--no-index", "--no-deps", wheel)
    # path files in the folders named here are not read, so this environment's editable install is left out
    (site / "of_the_tests.pth").write_text(
        "\n".join(f for f in sys.path if f.endswith("site-packages")) + "\n"
    )
    where = run(scripts / "python", "-c", "import weakspot.config.choices as c; print(c.CONFIGS)").strip()
    assert Path(where) == site / "weakspot" / "configs"
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "my.npz", embeddings=draw.normal(size=(60, 3)), losses=draw.random(60))
    said = run(scripts / "weakspot-discover", "predictions=my.npz", "method=random", "logger=none")
    assert "report → " in said
    assert list((tmp_path / "outputs").glob("discover/*/*/report.html"))
    assert run(scripts / "weakspot").startswith("weakspot COMMAND")
