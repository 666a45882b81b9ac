"""Ctrl+C and SIGTERM for real processes: one sentence, exit code 130 or 143, work kept, nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from paths import ROOT
from processes import quiet_environment
from shell import Shell
from weakspot import Predictions
from weakspot.predictions.shards import finished_rows

pytestmark = pytest.mark.slow
OFTEN_TESTED = pytest.mark.optional  # another combination of launcher and signal runs in CI

SAID = {"SIGINT": 130, "SIGTERM": 143}
BATCH, N = 16, 719

SLOW = """
import os, time
from pathlib import Path
import torch

class Net(torch.nn.Module):
    '''Takes its time, and says when it is at work on its fourth batch. Its weights are the same always.'''

    def __init__(self, num_classes, seconds=0.1):
        super().__init__()
        self.fc = torch.nn.Linear(3, num_classes)
        torch.nn.init.constant_(self.fc.weight, 0.5)
        torch.nn.init.zeros_(self.fc.bias)
        self.seconds, self.passes = seconds, 0

    def forward(self, x):
        if len(x) > 2:  # one or two images are tried before anything is made
            self.passes += 1
            time.sleep(self.seconds)
            if self.passes == 4:
                rank = os.environ.get("LOCAL_RANK", "0")
                Path(f"at-work-{rank}-{self.seconds}").touch()
        return self.fc(x.mean((2, 3)))
"""
MODEL = ("model=module", "model.path=slow:Net", "model.head=fc", "logger=none")
INFER = (*MODEL, "checkpoint=pretrained", f"inference.batch_size={BATCH}")


class Job:
    """An entry point in its own session, as a terminal or a scheduler runs it."""

    def __init__(self, folder: Path, *command: str) -> None:
        (folder / "slow.py").write_text(SLOW)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=quiet_environment() | {"PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, *patterns: str) -> None:
        """Wait until every pattern matches a file."""
        for _ in range(1200):
            if all(any(self.folder.glob(pattern)) for pattern in patterns):
                return
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
        raise AssertionError(f"{patterns} never came")

    def end(self, name: str, to: str) -> tuple[int, str, str]:
        """Send a signal to the process or its group; return the exit code, standard output and standard error."""
        (os.killpg if to == "group" else os.kill)(self.process.pid, getattr(signal, name))
        output, errors = self.process.communicate(timeout=120)
        for _ in range(50):
            if not self.running():
                break
            time.sleep(0.1)
        assert not self.running()
        return self.process.returncode, output, errors

    def running(self) -> list[str]:
        """The processes of the session that have not ended."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session, *_ = status.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(status.parent.name)
        return found


def script(name: str) -> str:
    return str(ROOT / f"{name}.py")


TRAIN = ("train", *MODEL, "trainer=cpu", "num_workers=2")
TRAIN_IN_TWO = ("train", *MODEL, "trainer=ddp_cpu")
INFER_IN_TWO = ("infer", *INFER, "trainer=ddp_cpu")
BEGINS, GOES_ON = "begins again", "goes on from what is finished"
SWEEP = ("train", "-m", *MODEL, "trainer=cpu", "seed=1,2")


@pytest.mark.parametrize(
    ("words", "ranks", "name", "to", "again"),
    [
        pytest.param(TRAIN, 1, "SIGINT", "group", BEGINS, id="train"),
        pytest.param(
            TRAIN_IN_TWO, 2, "SIGTERM", "group", BEGINS, id="train in two processes", marks=OFTEN_TESTED
        ),
        pytest.param(INFER_IN_TWO, 2, "SIGINT", "group", GOES_ON, id="infer in two processes"),
        pytest.param(
            INFER_IN_TWO,
            2,
            "SIGTERM",
            "one",
            GOES_ON,
            id="infer in two processes, one hears it",
            marks=OFTEN_TESTED,
        ),
        pytest.param(SWEEP, 1, "SIGTERM", "one", BEGINS, id="sweep"),
    ],
)
def test_an_interrupted_job_prints_one_sentence(tmp_path, words, ranks, name, to, again):
    """In the first epoch of training, nothing is finished yet; in inference, every batch is kept."""
    job = Job(tmp_path, script(words[0]), *words[1:])
    job.wait_for(*(f"at-work-{rank}-*" for rank in range(ranks)))
    code, output, errors = job.end(name, to)
    assert errors == f"interrupted ({name}); the same command {again}\n"
    assert "Traceback" not in output
    assert code == SAID[name]
    assert output.count("train → ") <= 1  # no further run of a sweep starts


@pytest.mark.parametrize(
    ("name", "trainer", "ranks"),
    [
        pytest.param("SIGTERM", ("trainer=cpu",), 1, marks=OFTEN_TESTED),
        ("SIGINT", ("trainer=ddp_cpu",), 2),
    ],
    ids=["one process", "two"],
)
def test_inference_resumes_after_the_last_finished_batch(tmp_path, name, trainer, ranks):
    """Shards are written once a minute; here less time has passed, so it is the signal that writes them."""
    job = Job(tmp_path, script("infer"), *INFER, *trainer)
    job.wait_for(*(f"at-work-{rank}-*" for rank in range(ranks)))
    code, _, _ = job.end(name, "one")
    assert code == SAID[name]
    (folder,) = (path.parent for path in tmp_path.glob("outputs/predictions/*/shards"))
    done = finished_rows(folder, N)
    assert len(list((folder / "shards").iterdir())) == ranks
    for rank in range(ranks):  # one process may be a batch ahead of the other when the signal comes
        own = done[done % ranks == rank]
        assert len(own) >= 3 * BATCH
        np.testing.assert_array_equal(own, np.arange(rank, N, ranks)[: len(own)])

    fast = ("+model.kwargs.seconds=0", "trainer=cpu")
    shell = Shell(tmp_path)
    resumed = shell("infer", *INFER, "trainer=cpu")
    assert f"infer: interrupted at {len(done)} of {N} → will resume" in resumed
    shell("infer", *INFER, *fast, "predictions_dir=whole")
    (other,) = tmp_path.glob("whole/*/manifest.json")
    assert_same(Predictions.load(folder), Predictions.load(other.parent))


def assert_same(a: Predictions, b: Predictions) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.embeddings, b.embeddings)
    np.testing.assert_array_equal(a.losses, b.losses)


def test_an_interrupted_search_prints_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "p.npz", embeddings=rng.normal(size=(20_000, 16)), losses=rng.exponential(size=20_000)
    )
    job = Job(tmp_path, script("discover"), "predictions=p.npz", "logger=none", "stability=1000")
    job.wait_for("outputs/discover/*/*/config.yaml")
    time.sleep(2)
    code, output, errors = job.end("SIGINT", "group")
    assert (code, errors) == (
        130,
        f"interrupted (SIGINT); the same command {BEGINS}\n",
    ), output
    (log,) = tmp_path.glob("outputs/discover/*/*/discover.log")
    assert "Traceback" in log.read_text()  # the log shows where it was interrupted
    assert not list(tmp_path.glob("outputs/discover/*/*/.slices-*"))


def test_an_interrupted_sweep_shows_its_finished_runs(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "p.npz", embeddings=rng.normal(size=(20_000, 16)), losses=rng.exponential(size=20_000)
    )
    sweep = ("-m", "stability=0,100000,1", "hydra.sweep.dir=swept")
    job = Job(tmp_path, script("discover"), "predictions=p.npz", "logger=none", *sweep)
    job.wait_for("swept/1/config.yaml")
    code, output, errors = job.end("SIGINT", "group")
    assert (code, errors) == (130, f"interrupted (SIGINT); the same command {BEGINS}\n"), output
    table = output.rpartition("The runs of this sweep, below swept")[2]
    first, second, third = (line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│"))
    assert [cell.strip() for cell in first][:2] == ["0", "stability=0"]
    assert " of " in first[2]
    assert [cell.strip() for cell in second] == ["1", "stability=100000", "–", "interrupted"]
    assert [cell.strip() for cell in third] == ["2", "stability=1", "–", "not begun"]
    assert not (tmp_path / "swept" / "2").exists()


def test_a_job_interrupted_during_startup_leaves_nothing(tmp_path):
    job = Job(tmp_path, script("train"), *MODEL, "trainer=cpu")
    job.wait_for("outputs/train/*/*/train.log")
    code, _, errors = job.end("SIGINT", "group")
    assert (code, errors) == (130, f"interrupted (SIGINT); the same command {BEGINS}\n")
    assert not (tmp_path / "outputs").exists()


def test_the_explorer_ends_on_ctrl_c(tmp_path):
    (tmp_path / "outputs").mkdir()
    job = Job(tmp_path, script("browse"), "port=0", "open=false")
    assert job.process.stdout is not None
    assert "Ctrl+C ends" in job.process.stdout.readline()
    code, _, errors = job.end("SIGINT", "group")
    assert (code, errors) == (130, "interrupted (SIGINT); the same command starts it again\n")


@OFTEN_TESTED
def test_the_jobs_of_a_parallel_sweep_keep_their_inferred_batches(tmp_path):
    words = ("-m", *INFER, "trainer=cpu", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    job = Job(tmp_path, script("infer"), *words, "+model.kwargs.seconds=0.3,0.4")
    job.wait_for("at-work-0-0.3", "at-work-0-0.4")
    code, output, errors = job.end("SIGTERM", "one")
    assert (code, errors) == (143, "interrupted (SIGTERM); the same command goes on from what is finished\n")
    records = list(tmp_path.glob("outputs/predictions/*-*/"))
    assert len(records) == 2, output
    for record in records:
        assert len(finished_rows(record, N)) >= 3 * BATCH


@OFTEN_TESTED
def test_the_processes_of_torchrun_end_cleanly(tmp_path):
    """torchrun itself always exits with 1 and its own traceback; our processes add one sentence and keep their rows."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    job = Job(tmp_path, *launcher, script("infer"), *INFER, "trainer=ddp_cpu")
    job.wait_for("at-work-0-*", "at-work-1-*")
    code, _, errors = job.end("SIGTERM", "one")
    assert code == 1
    assert errors.count("interrupted (SIGTERM); the same command goes on from what is finished\n") == 1
    assert errors.count("Traceback") == 1
    assert "SignalException" in errors.splitlines()[-1]
    assert len(list(tmp_path.glob("outputs/predictions/*/shards/rank[01]-*"))) == 2


def test_processes_end_with_the_one_that_launched_them(tmp_path):
    job = Job(tmp_path, script("infer"), *INFER, "trainer=ddp_cpu", "+model.kwargs.seconds=0.5")
    job.wait_for("at-work-0-*", "at-work-1-*")
    assert len(job.running()) == 2
    code, _, _ = job.end("SIGKILL", "one")
    assert code == -signal.SIGKILL


def test_wandb_receives_the_exit_code(tmp_path):
    job = Job(tmp_path, script("train"), *MODEL[:-1], "logger=wandb", "trainer=cpu")
    job.wait_for("at-work-0-*")
    assert job.end("SIGTERM", "one")[0] == 143
    (run,) = tmp_path.glob("outputs/train/*/*/wandb/offline-run-*/run-*.wandb")
    inspected = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)],
        capture_output=True,
        text=True,
        env=quiet_environment(),
    )
    records = [json.loads(line) for line in inspected.stdout.splitlines()]
    assert [record["exit"]["exit_code"] for record in records if record["type"] == "exit"] == [143]


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    program = """
import time
from weakspot import signals

def say(interrupted):
    print("last words", interrupted.name, flush=True)

with signals.interruptible(say):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
"""
    job = Job(tmp_path, "-c", program)
    assert job.process.stdout is not None
    assert job.process.stdout.readline() == "ready\n"
    job.process.send_signal(signal.SIGINT)
    job.process.send_signal(signal.SIGINT)  # the same Ctrl+C, forwarded by another process
    assert job.process.stdout.readline() == "cleaning\n"
    time.sleep(1.5)
    code, output, _ = job.end("SIGINT", "one")
    assert (code, output) == (130, "last words SIGINT\n")


def test_compiled_code_that_does_not_return_is_not_waited_for(tmp_path):
    program = """
import ctypes
from weakspot import signals

with signals.interruptible(lambda interrupted: print("last words", interrupted.name, flush=True)):
    print("ready", flush=True)
    lock = ctypes.create_string_buffer(64)
    for _ in range(2):  # the second time it waits for itself
        ctypes.CDLL(None).pthread_mutex_lock(lock)
"""
    job = Job(tmp_path, "-c", program)
    assert job.process.stdout is not None
    assert job.process.stdout.readline() == "ready\n"
    time.sleep(2)  # until it is deadlocked; an earlier signal would end it in the ordinary way
    begun = time.monotonic()
    code, output, _ = job.end("SIGTERM", "one")
    assert (code, output) == (143, "last words SIGTERM\n")
    assert time.monotonic() - begun < 30


FINALIZER = """
class Finalized:
    def __del__(self):
        interrupt()

Finalized()
"""
CALLBACK = """
import ctypes

callback = ctypes.CFUNCTYPE(None)(interrupt)
callback()
"""


CAUGHT = """
try:
    interrupt()
except BaseException:
    pass
"""


# waits for a second or two, on any processor, during which no signal handler runs: a lock that it holds already
COMPILED = (
    "import ctypes, struct; libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64); "
    "libc.pthread_mutex_lock(lock); "
    "libc.pthread_mutex_timedlock(lock, struct.pack('qq', int(time.time()) + 2, 0))"
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "swallowing",
    [FINALIZER, CALLBACK, CAUGHT],
    ids=["finalizer", "callback of compiled code", "code that catches everything"],
)
def test_a_swallowed_interruption_is_not_lost(tmp_path, swallowing, name):
    """Python ignores what finalizers and callbacks raise: the work used to go on, and later signals changed nothing."""
    program = f"""
import os, signal, threading, time
from weakspot import signals

def interrupt():
    threading.Timer(0.1, os.kill, (os.getpid(), signal.{name})).start()
    {COMPILED}
    print("not reached")

with signals.interruptible(lambda interrupted: print("at once", flush=True)):
    try:
        {"        ".join(swallowing.strip().splitlines(keepends=True))}
        print("goes on", flush=True)
        time.sleep(60)
    finally:
        print("in order", signals.interruption().name, flush=True)
"""
    job = Job(tmp_path, "-c", program)
    output, errors = job.process.communicate(timeout=30)
    assert (output, errors) == (f"goes on\nin order {name}\n", "")
    assert job.process.returncode == 128 + signal.Signals[name]


def test_a_job_that_finishes_after_a_swallowed_interruption_ends_normally(tmp_path):
    program = f"""
import os, signal, time
from weakspot import signals

def interrupt():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)

with signals.interruptible():
    {"    ".join(FINALIZER.strip().splitlines(keepends=True))}
time.sleep(0.3)
print("done")
"""
    job = Job(tmp_path, "-c", program)
    output, errors = job.process.communicate(timeout=30)
    assert (job.process.returncode, output, errors) == (0, "done\n", "")
