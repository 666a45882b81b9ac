"""The main job, end to end, as in the README."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paths import ROOT
from processes import quiet_environment
from weakspot import Findings, Predictions, Slices
from weakspot.explain.attributes import over_represented

pytestmark = pytest.mark.slow


def group_of(weights: np.ndarray, predictions: Predictions):
    found = over_represented(weights, predictions.attributes, top=100)
    return next(enrichment for enrichment in found if enrichment.attribute == "group")


def test_the_default_run_finds_the_failing_group(shell):
    text = shell("discover")
    assert "train: missing → will run · infer: missing → will run · discover" in text
    (report,) = shell.reports()
    slices = Slices.load(report.parent / "slices")
    (folder,) = (path.parent for path in shell.folder.glob("outputs/predictions/*/manifest.json"))
    predictions = Predictions.load(folder)

    groups = predictions.attributes["group"].to_numpy(zero_copy_only=False)
    worst = min(np.unique(groups), key=lambda group: predictions.correct[groups == group].mean())
    assert worst == "red_≥5"
    assert "red_≥5" in report.read_text(encoding="utf-8")
    findings = Findings.load(report.parent)
    assert findings.method == "scan"
    (named,) = (f for f in findings.findings if f.confirmed and f.name == "group = red_≥5")
    for found in (group_of(slices.weights[number - 1], predictions) for number in named.parts):
        assert found.value == worst
        assert found.share_inside > 0.6
    assert findings.slices[0].p_searched == 1 / 200
    assert abs(named.examples - 187) <= 20
    assert named.errors_explained == pytest.approx(
        (~predictions.correct[groups == worst]).sum() / (~predictions.correct).sum(), abs=0.05
    )

    files = {path.name for path in report.parent.iterdir()}
    assert {"report.html", "slices", "config.yaml", "discover.log", "wandb"} <= files
    (run,) = report.parent.glob("wandb/offline-run-*/run-*.wandb")
    logged = inspect(run)
    for word in ("slice_1/size", "slice_1/p_searched", "examples", "weights", "report", "slices-"):
        assert word in logged, f"{word} was not sent to W&B"
    (table,) = report.parent.glob("wandb/offline-run-*/files/media/table/examples*.json")
    examples = json.loads(table.read_text())
    for column in ("example", "grad_cam"):  # the images themselves are in the table's artifact
        assert {row[examples["columns"].index(column)] for row in examples["data"]} == {"Image"}

    again = shell("discover", "logger=csv")
    assert "train: cached · infer: cached · discover" in again
    assert list(shell.folder.glob("outputs/discover/*/*/csv/metrics.csv"))


def test_slices_found_in_a_whole_split_are_tested_on_another_split(digits, tmp_path):
    words = ("training.epochs=1", "logger=none", "cam=none", "confirm=val", f"hydra.run.dir={tmp_path}")
    digits("discover", *words)
    findings = Findings.load(tmp_path)
    assert findings.confirmation.mode == "other"
    assert (findings.confirmation.searched, findings.confirmation.tested) == (719, 108)
    assert "split val" in findings.confirmation.explanation


def inspect(run) -> str:
    """A run file as W&B itself reads it, once its last record is there: the file may lag behind the end of the run."""
    for _ in range(50):
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)],
            capture_output=True,
            text=True,
            env=quiet_environment(),
        )
        if done.returncode == 0 and '"exit"' in done.stdout:
            return done.stdout
        time.sleep(0.2)
    raise AssertionError(f"no complete run in {run}: {done.stdout[-500:]} {done.stderr[-500:]}")


def test_a_sweep_makes_one_run_per_seed(shell):
    shell("discover", "-m", "method=spotlight", "seed=1,2", "training.epochs=1", "logger=tensorboard")
    assert len(shell.reports()) == 2
    records = [
        json.loads(path.read_text()) for path in shell.folder.glob("outputs/predictions/*/manifest.json")
    ]
    assert len({record["made_from"]["weights"] for record in records}) == 2
    folders = list(shell.folder.glob("multirun/**/tensorboard"))
    assert len(folders) == 2
    for folder in folders:
        tags = EventAccumulator(str(folder)).Reload().Tags()
        assert {"slice_1/search/objective", "slice_1/accuracy_inside", "val/worst_group"} <= set(
            tags["scalars"]
        )
        assert "slice_1/examples" in tags["images"]


def test_a_sweep_whose_runs_use_two_processes_ends(shell):
    text = shell("infer", "-m", "seed=1,2", "training.epochs=1", "trainer=ddp_cpu", "logger=none")
    assert text.count("predictions → ") == 2
    assert text.count("The runs of this sweep") == 1  # the second process of each run prints none
    assert re.search(r"┃ run ┃ settings ┃ +loss ┃ accuracy ┃", text)
    assert len(list(shell.folder.glob("outputs/predictions/*/manifest.json"))) == 2


def test_two_processes_train_and_infer_numbers_of_images_that_cannot_be_divided_evenly(shell):
    """Five training images per process in batches of four leave a batch of one, which batch normalisation cannot
    take; and there is only one image to infer."""
    rng = np.random.default_rng(0)
    table = ["path,label,split"]
    for i, split in enumerate(["train"] * 10 + ["val"] * 4 + ["test"]):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(shell.folder / f"{i}.png")
        table.append(f"{i}.png,{'ab'[i % 2]},{split}")
    (shell.folder / "my.csv").write_text("\n".join(table))
    words = ("dataset=csv", "dataset.file=my.csv", "dataset.size=32", "model=resnet18", "trainer=ddp_cpu")
    text = shell(
        "infer", *words, "training.batch_size=4", "training.epochs=1", "logger=none", "num_workers=0"
    )
    assert "train: missing → will run · infer: missing → will run" in text
    assert text.count("trainer: 2 processes on the CPU\n") == 1
    (record,) = (
        Predictions.load(path.parent) for path in shell.folder.glob("outputs/predictions/*/manifest.json")
    )
    assert record.ids.tolist() == ["14.png"]


@pytest.mark.optional  # torchrun's processes decide together in CI
def test_processes_that_start_late_decide_as_the_first_one_did(shell):
    """Two processes infer the held-out split; the second starts after the first found the rest in the cache."""
    shell("infer", "logger=none", "training.epochs=1")
    text = shell(
        "discover",
        "logger=none",
        "cam=none",
        "method.n_slices=1",
        "confirm=val",
        "training.epochs=1",
        "trainer=ddp_cpu",
    )
    assert "train: cached · infer: cached · discover" in text
    findings = Findings.load(shell.reports()[0].parent)
    assert (findings.confirmation.searched, findings.confirmation.tested) == (719, 108)
    assert not list(shell.folder.glob("outputs/predictions/*/shards"))


@pytest.mark.optional  # tests/pipeline starts torchrun in CI, as test_multinode.py does
def test_torchrun_starts_the_processes_and_rank_0_decides(shell):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [
        str(ROOT / "discover.py"),
        "trainer=ddp_cpu",
        "training.epochs=1",
        "logger=none",
        "method.n_slices=1",
    ]
    for expected in ("train: missing", "train: cached · infer: cached"):
        done = subprocess.run(
            command + script,
            cwd=shell.folder,
            env=quiet_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count(expected) == 1
    assert len(list(shell.folder.glob("outputs/predictions/*/manifest.json"))) == 1


def test_jobs_that_race_for_one_record_make_it_once(shell):
    command = [sys.executable, str(ROOT / "infer.py"), "logger=none", "training.epochs=1"]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    jobs = [subprocess.Popen(command, cwd=shell.folder, env=quiet_environment(), **both) for _ in range(2)]
    outputs = [job.communicate(timeout=300)[0] for job in jobs]
    assert all(job.returncode == 0 for job in jobs), "\n".join(outputs)
    assert sum("train → " in output for output in outputs) == 1
    assert len(list(shell.folder.glob("outputs/predictions/*/manifest.json"))) == 1
