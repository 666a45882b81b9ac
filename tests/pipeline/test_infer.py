"""Inference into the store: equal to a plain loop, also after a killed run and with several processes."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import seed_everything

from cpu_trainer import CPU
from paths import ROOT
from processes import quiet_environment
from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.datasets.datamodule import DataModule
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.infer import infer
from weakspot.predictions import Predictions
from weakspot.predictions.shards import finished_rows, write_shard
from weakspot.predictions.store import is_complete


def model():
    seed_everything(0, verbose=False)
    return SmallCNN(ColoredDigits("test").task)


def test_the_record_matches_a_plain_loop(tmp_path):
    net = model().eval()
    p = infer(
        net, DataModule(ColoredDigits, batch_size=100), "test", CPU, tmp_path / "record", {}, shard_bytes=1
    )
    data = ColoredDigits("test")
    x = torch.stack([data[row]["input"] for row in range(len(data))])
    with torch.no_grad():
        z = net.embed(x)
        logits = net.head(z)
    np.testing.assert_allclose(p.embeddings, z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(p.outputs, logits, rtol=1e-4, atol=1e-5)
    derived = Predictions.from_arrays(z.numpy(), outputs=logits.numpy(), labels=data.targets)
    np.testing.assert_allclose(p.losses, derived.losses, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(p.labels, data.targets)
    assert p.ids.tolist() == data.examples["id"].to_pylist()
    own = data.examples.drop_columns(["id"])
    assert p.attributes.select(own.column_names).equals(own)
    assert not net.training


class Laid(SmallCNN):
    """Remembers the memory layout of the last images."""

    def embed(self, x):
        self.lay_last = x.is_contiguous(memory_format=torch.channels_last)
        return super().embed(x)


@pytest.mark.parametrize("wanted", [True, False])
def test_images_are_channels_last_for_networks_that_ask_for_it(tmp_path, wanted):
    seed_everything(0, verbose=False)
    net = Laid(ColoredDigits("test").task)
    net.channels_last = wanted
    infer(net, DataModule(ColoredDigits, batch_size=100), "test", CPU, tmp_path / "record", {})
    assert net.lay_last is wanted


KILLED = """
import os, signal, sys
sys.path[:0] = ["tests/pipeline", "tests/support"]
from pathlib import Path
import torch
from cpu_trainer import CPU
from test_infer import ColoredDigits, DataModule, infer, model

class Deadly(ColoredDigits):
    def input(self, row):
        if row == 450:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().input(row)

torch.set_num_threads(int(sys.argv[2]))  # with another number of them, some processors give other last bits
infer(model(), DataModule(Deadly, batch_size=100), "test", CPU, Path(sys.argv[1]), {}, shard_bytes=1)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_at_its_last_shard(tmp_path):
    folder = tmp_path / "record"
    command = [sys.executable, "-c", KILLED, str(folder), str(torch.get_num_threads())]
    killed = subprocess.run(command, cwd=ROOT, env=quiet_environment(), capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    np.testing.assert_array_equal(finished_rows(folder, 719), np.arange(400))
    assert not is_complete(folder)

    read = []
    data = DataModule(functools.partial(Watched, read=read), batch_size=100)
    resumed = infer(model(), data, "test", CPU, folder, {})
    assert read == list(range(400, 719))
    whole = infer(model(), DataModule(ColoredDigits, batch_size=100), "test", CPU, tmp_path / "whole", {})
    np.testing.assert_array_equal(resumed.embeddings, whole.embeddings)
    np.testing.assert_array_equal(resumed.losses, whole.losses)


class InterruptedRunError(Exception):
    pass


class Watched(ColoredDigits):
    """Records the rows that are read, and stops at one of them."""

    def __init__(self, split, read=None, stop=None):
        super().__init__(split)
        self.read, self.stop = read if read is not None else [], stop

    def input(self, row):
        if row == self.stop:
            raise InterruptedRunError
        self.read.append(row)
        return super().input(row)


@pytest.mark.slow
def test_damaged_shards_are_inferred_again_and_nothing_else(tmp_path, caplog):
    folder = tmp_path / "record"
    stopped = DataModule(functools.partial(Watched, stop=450), batch_size=100)
    with pytest.raises(InterruptedRunError):
        infer(model(), stopped, "test", CPU, folder, {}, shard_bytes=1)
    _, second, third, _ = sorted((folder / "shards").iterdir())
    second.write_bytes(second.read_bytes()[:1000])
    content = bytearray(third.read_bytes())
    content[-1000] ^= 16
    third.write_bytes(content)

    read = []
    with caplog.at_level("WARNING"):
        resumed = infer(
            model(),
            DataModule(functools.partial(Watched, read=read), batch_size=100),
            "test",
            CPU,
            folder,
            {},
        )
    assert read == [*range(100, 300), *range(400, 719)]
    assert [Path(message.split()[0]).name for message in caplog.messages] == [second.name, third.name]
    whole = infer(model(), DataModule(ColoredDigits, batch_size=100), "test", CPU, tmp_path / "whole", {})
    np.testing.assert_array_equal(resumed.embeddings, whole.embeddings)
    np.testing.assert_array_equal(resumed.losses, whole.losses)


def test_shards_are_written_once_a_minute_however_small(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 40))  # seconds from one batch to the next
    monkeypatch.setattr("weakspot.pipeline.infer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    stopped = DataModule(functools.partial(Watched, stop=450), batch_size=50)
    with pytest.raises(InterruptedRunError):
        infer(model(), stopped, "test", CPU, tmp_path / "record", {})
    np.testing.assert_array_equal(finished_rows(tmp_path / "record", 719), np.arange(400))
    assert len(list((tmp_path / "record" / "shards").iterdir())) == 4  # of two batches each


def test_the_first_example_with_nan_outputs_is_named(tmp_path):
    net = model()
    torch.nn.init.constant_(net.output.bias, float("nan"))
    with pytest.raises(ValueError, match=r"losses: row 0 \(id digit-"):
        infer(net, DataModule(ColoredDigits), "test", CPU, tmp_path / "record", {})
    assert not (tmp_path / "record").exists()


def test_fewer_rows_than_processes_are_read_by_one(tmp_path):
    two = functools.partial(CPU, devices=2, strategy="ddp")
    data = DataModule(functools.partial(First, 1))
    assert len(infer(model(), data, "test", two, tmp_path / "record", {})) == 1


SHARED = """
import functools, os, sys
sys.path[:0] = ["tests/pipeline", "tests/support"]
from pathlib import Path
from cpu_trainer import CPU
from test_infer import RANKS, DataModule, First, infer, model
from weakspot.pipeline.processes import job_processes

trainer = functools.partial(CPU, devices=RANKS, strategy="ddp")
with job_processes("cpu"):
    for case in sys.argv[2:]:
        data = DataModule(functools.partial(First, int(case.partition("-")[0])))
        record = infer(model(), data, "test", trainer, Path(sys.argv[1]) / case, {})
        # a file each: two processes that print at the same moment mix their lines
        file = Path(sys.argv[1]) / f"{case}.rows-{os.environ['RANK']}"
        file.write_text(str(len(record) if record else None))
"""
RANKS = 3


@pytest.mark.slow
def test_one_process_infers_the_rows_that_cannot_be_divided(tmp_path):
    """The process group exists already, as after training, and an earlier run inferred the other rows. Four rows
    left are more than there are processes: the remainder of the division goes to one of them."""
    cases = {f"{rows}-{left}": (rows, left) for rows, left in ((2, 2), (5, 1), (5, 4))}
    alone = {
        rows: infer(
            model(), DataModule(functools.partial(First, rows)), "test", CPU, tmp_path / f"{rows}", {}
        )
        for rows in (2, 5)
    }
    for case, (rows, left) in cases.items():
        if left < rows:
            columns = ("embeddings", "outputs", "losses", "labels", "predictions", "correct")
            done = {name: np.asarray(getattr(alone[rows], name))[left:] for name in columns}
            write_shard(tmp_path / case, 0, done | {"index": np.arange(left, rows)})
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    (tmp_path / "shared.py").write_text(SHARED)
    done = subprocess.run(
        [*torchrun, str(tmp_path / "shared.py"), str(tmp_path), *cases],
        cwd=ROOT,
        env=quiet_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for case, (rows, _) in cases.items():
        told = [path.read_text() for path in tmp_path.glob(f"{case}.rows-*")]
        assert sorted(told) == sorted([str(rows), *["None"] * (RANKS - 1)])
        np.testing.assert_allclose(
            Predictions.load(tmp_path / case).embeddings, alone[rows].embeddings, rtol=1e-5, atol=1e-6
        )


class First(ColoredDigits):
    """Only the first rows."""

    def __init__(self, rows, split):
        super().__init__(split)
        self.targets, self.examples = self.targets[:rows], self.examples[:rows]


@pytest.mark.slow
@pytest.mark.optional  # test_multinode.py compares processes with one in CI
def test_two_processes_write_the_same_record_as_one(shell):
    common = ("infer", "logger=none", "training.epochs=1")
    shell(*common, "predictions_dir=one")
    text = shell(*common, "predictions_dir=two", "trainer=ddp_cpu", "trainer.devices=2")
    assert "train: cached · infer: missing → will run" in text
    (one,) = (Predictions.load(path.parent) for path in shell.folder.glob("one/*/manifest.json"))
    (two,) = (Predictions.load(path.parent) for path in shell.folder.glob("two/*/manifest.json"))
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_allclose(one.embeddings, two.embeddings, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(one.predictions, two.predictions)
    assert "image.brightness" in one.attributes.column_names
    assert one.attributes.equals(two.attributes)
