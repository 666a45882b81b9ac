"""Inference in parts, `shard=3/64`: jobs of different parts run at once, and their shards become one record."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from subprocess import PIPE, STDOUT

import numpy as np
import pytest
import torch
from filelock import FileLock
from pytorch_lightning import seed_everything

from cpu_trainer import CPU
from paths import ROOT
from processes import ended_with, quiet_environment
from weakspot import Predictions
from weakspot.datasets.digits import Digits
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline import infer as infer_module
from weakspot.pipeline.audit_target import AuditTarget, Component
from weakspot.pipeline.job_shard import JobShard, format_ranges, missing_shards
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.pipeline.upstream import describe_plan, pull_predictions, pull_shard
from weakspot.predictions.shards import finished_rows

N = len(Digits("test"))


def target_in(folder, dataset=Digits):
    """A network with given weights on the digits; every dataset class of this file gives the same record."""
    weights = folder / "weights.pt"
    if not weights.exists():
        seed_everything(0, verbose=False)
        torch.save(SmallCNN(Digits("test").task, channels=(4, 8), embedding=8).state_dict(), weights)
    return AuditTarget(
        Component("digits", {}, dataset),
        Component("small_cnn", {"channels": [4, 8], "embedding": 8}, small),
        TrainingSettings(),
        CPU,
        checkpoint=str(weights),
        predictions_dir=folder / "predictions",
        inference_batch_size=50,
    )


def small(task):
    return SmallCNN(task, channels=(4, 8), embedding=8)


def folder_of(target):
    (folder,) = (path for path in target.predictions_dir.iterdir() if not path.name.startswith("."))
    return folder


@pytest.mark.parametrize("n", [0, 1, 5, 719])
@pytest.mark.parametrize("of", [1, 3, 64])
def test_parts_divide_the_rows(n, of):
    parts = [JobShard(number, of).rows(n) for number in range(1, of + 1)]
    assert [row for part in parts for row in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("0/4", "the 4 shards are numbered from 1 to 4"),
        ("5/4", "the 4 shards are numbered from 1 to 4"),
        ("x", "write shard=3/64"),
        ("3", "write shard=3/64"),
        ("1/0", "write shard=3/64"),
        ("-1/4", "write shard=3/64"),
        ("1.5/4", "write shard=3/64"),
    ],
)
def test_an_invalid_part_is_refused(word, said):
    with pytest.raises(ValueError, match=f"^shard={word}.*{said}"):
        JobShard.parse(word)
    assert JobShard.parse("3/64") == JobShard(3, 64)


def test_missing_parts_are_listed_as_job_arrays_take_them():
    assert format_ranges([2, 5, 6, 7, 9]) == "2,5-7,9"


def test_parts_are_joined_and_missing_rows_are_inferred(tmp_path, monkeypatch):
    target = target_in(tmp_path)
    assert pull_shard(target, JobShard(2, 4)).startswith(
        "1 of 4 shards are inferred, missing: 1,3-4; `infer.py` joins"
    )
    assert describe_plan(target, "infer", shard=JobShard(2, 4)).endswith("infer shard 2/4: cached")
    assert describe_plan(target, "infer", shard=JobShard(3, 4)).endswith(
        "infer shard 3/4: missing → will run"
    )
    assert pull_shard(target, JobShard(4, 4)).startswith("2 of 4 shards are inferred, missing: 1,3;")
    folder = folder_of(target)
    np.testing.assert_array_equal(
        finished_rows(folder, N), [*JobShard(2, 4).rows(N), *JobShard(4, 4).rows(N)]
    )
    # parts of another size use the rows that are there already
    assert describe_plan(target, "infer", shard=JobShard(2, 2)).endswith(
        f"interrupted at {len(JobShard(4, 4).rows(N))} of {len(JobShard(2, 2).rows(N))} → will resume"
    )

    read = []
    original = Digits.preview

    def noted(self, row):
        read.append(row)
        return original(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(Digits, "preview", noted)
        joined = pull_predictions(target)
    assert set(read) == {*JobShard(1, 4).rows(N), *JobShard(3, 4).rows(N)}
    whole = pull_predictions(dataclasses.replace(target, predictions_dir=tmp_path / "whole"))
    for name in ("embeddings", "outputs", "losses"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-5, atol=1e-6)
    assert joined.ids.tolist() == whole.ids.tolist()
    assert joined.attributes.equals(whole.attributes)
    assert joined.manifest["made_from"] == whole.manifest["made_from"]
    assert pull_shard(target, JobShard(1, 4)) == f"the predictions are complete → {folder}"


def test_a_part_without_rows_is_done(tmp_path):
    target = target_in(tmp_path)
    assert JobShard(1, 10 * N).rows(N) == range(0)
    assert f"of {10 * N} shards are inferred" in pull_shard(target, JobShard(1, 10 * N))


def test_a_part_leaves_the_shards_of_others_alone(tmp_path, monkeypatch):
    """It does not check their shards, nor delete them if its own rows are NaN."""
    target = target_in(tmp_path)
    pull_shard(target, JobShard(1, 2))
    folder = folder_of(target)
    (shard,) = (folder / "shards").iterdir()
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    monkeypatch.setattr(Digits, "input", lambda self, row: torch.full((3, 8, 8), float("nan")))
    with pytest.raises(ValueError, match=target.split_dataset("test").examples["id"][N // 2].as_py()):
        pull_shard(target, JobShard(2, 2))
    assert list((folder / "shards").iterdir()) == [shard]
    assert missing_shards(folder, N, 2) == [2]
    for count in (1, 3, N, 5 * N):  # by the definition of a shard
        parts = {number: JobShard(number, count).rows(N) for number in range(1, count + 1)}
        missing = [number for number, rows in parts.items() if rows and rows[-1] >= N // 2]
        assert missing_shards(folder, N, count) == missing
    assert len(missing_shards(folder, N, 10**18)) == N - N // 2
    assert len(finished_rows(folder, N)) == 0  # joining finds that the first is damaged, and infers it again


class Waiting(Digits):
    """Marks its start with the file `STARTED`, and gives its first row only once the file `ENDED` exists."""

    def input(self, row):
        import os
        import time
        from pathlib import Path

        if row == 0:
            Path(os.environ["STARTED"]).touch()
            while not Path(os.environ["ENDED"]).exists():
                time.sleep(0.05)
        return super().input(row)


JOB = """
import sys
sys.path[:0] = ["tests/pipeline", "tests/support"]
from pathlib import Path
import torch
from test_infer_parts import JobShard, Waiting, pull_shard, target_in
from weakspot.pipeline.processes import job_processes

torch.set_num_threads(1)
with job_processes("cpu"):
    print(pull_shard(target_in(Path(sys.argv[1]), Waiting), JobShard.parse(sys.argv[2])))
"""


@pytest.mark.slow
def test_jobs_of_different_parts_run_at_once(tmp_path):
    target_in(tmp_path)
    started, ended = tmp_path / "started", tmp_path / "ended"
    environment = quiet_environment() | {"STARTED": str(started), "ENDED": str(ended)}
    jobs = []

    def job(part):
        command = [sys.executable, "-c", JOB, str(tmp_path), part]
        jobs.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE, text=True))
        return jobs[-1]

    with ended_with(jobs):
        first = job("1/3")
        while not started.exists():
            assert first.poll() is None, first.communicate()
            time.sleep(0.05)
        third = job("3/3")  # ends while the first is still at its first row
        said, errors = third.communicate()
        assert third.returncode == 0, errors
        assert said.startswith("1 of 3 shards are inferred, missing: 1-2;")
        ended.touch()
        said, errors = first.communicate()
        assert first.returncode == 0, errors
        assert said.startswith("2 of 3 shards are inferred, missing: 2;")


def test_joining_waits_for_parts_and_parts_wait_for_joining(tmp_path, monkeypatch):
    target = target_in(tmp_path)
    pull_shard(target, JobShard(1, 2))
    folder = folder_of(target)
    locks = target.predictions_dir / ".locks"
    done = []

    def in_thread(job, *words):
        thread = threading.Thread(target=lambda: done.append(job(target, *words)), daemon=True)
        thread.start()
        return thread

    with FileLock(locks / f"{folder.name}.part2of2"):  # another job is inferring it
        same, joins = in_thread(pull_shard, JobShard(2, 2)), in_thread(pull_predictions)
        same.join(1.5)
        assert same.is_alive()
        assert joins.is_alive()
        assert not done
    same.join(60)
    joins.join(60)
    assert len(done) == 2
    assert not (folder / "shards").exists()

    other = dataclasses.replace(target, predictions_dir=tmp_path / "other")
    pull_shard(other, JobShard(1, 2))
    begun = []
    monkeypatch.setattr(infer_module, "infer_rows", lambda *_, **__: begun.append(1))
    with FileLock(other.predictions_dir / ".locks" / folder.name):  # another job joins, or infers all
        part = threading.Thread(target=lambda: pull_shard(other, JobShard(2, 2)), daemon=True)
        part.start()
        part.join(1.5)
        assert not begun
    part.join(60)
    assert begun


@pytest.mark.slow
def test_from_the_command_line(digits):
    """Two jobs at once, then one that joins."""
    words = ("logger=none", "training.epochs=1", "predictions_dir=parts")
    command = [sys.executable, str(ROOT / "infer.py"), *words]
    jobs = [
        subprocess.Popen(
            [*command, f"shard={part}"],
            cwd=digits.folder,
            env=quiet_environment(),
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
        )
        for part in ("1/3", "3/3")
    ]
    with ended_with(jobs):
        said = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    assert "train: cached · infer shard 1/3: missing → will run" in said[0]
    told = " ".join("".join(said).split())
    assert "2 of 3 shards are inferred, missing: 2; `python infer.py logger=none training.epochs=1" in told
    assert "shard=" not in told.partition("missing: 2;")[2].partition("` joins")[0]

    joined = digits("infer", *words)
    assert "infer: interrupted at 479 of 719 → will resume" in joined
    (folder,) = (path.parent for path in digits.folder.glob("parts/*/manifest.json"))
    one, parts = (
        Predictions.load(digits.folder / "outputs/predictions" / folder.name),
        Predictions.load(folder),
    )
    np.testing.assert_allclose(parts.embeddings, one.embeddings, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts.losses, one.losses, rtol=1e-4, atol=1e-5)
    assert parts.attributes.equals(one.attributes)
