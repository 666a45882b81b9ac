"""Several processes, one decision: rank 0 decides and the others follow."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from subprocess import Popen, TimeoutExpired
from typing import TYPE_CHECKING, Any

from weakspot import signals

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

_PARENT = "WEAKSPOT_PARENT"
_PATIENCE = timedelta(days=1)  # of ranks, while the first of them waits for another job's part

_launchers: list[Any] = []  # of the trainers of this job, each with the processes that it launched, if any

# torch is imported where a group of processes exists: a job of one process may never need it.

_times_agreed: Counter[str] = Counter()
"""How often each word has been decided on in this job."""


def is_main() -> bool:
    """Whether this is rank 0, or the process that is yet to launch the others."""
    if grouped():
        import torch.distributed as dist

        return dist.get_rank() == 0
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return int(next((rank for rank in ranks if rank), "0")) == 0


def agree(word: str, decide: Callable[[], Any]) -> Any:
    """What rank 0 decides, in every process; `decide` runs on rank 0 alone and returns plain JSON values.

    Processes that already form a group have it broadcast. Children that Lightning is yet to launch run the job from
    its start, and find in the environment what was decided at each of these calls, the first of a word, the second…
    """
    if grouped():
        import torch.distributed as dist

        box = [decide() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(box)
        return box[0]
    _times_agreed[word] += 1
    variable = f"WEAKSPOT_{word.upper()}_{_times_agreed[word]}"
    if is_main():
        decision = decide()
        os.environ[variable] = json.dumps(decision)
        return decision
    return json.loads(os.environ[variable])


@contextmanager
def processes(accelerator: str = "auto") -> Iterator[None]:
    """Around one job: join the group that torchrun or SLURM started, and leave nothing behind for the next.

    Lightning marks the process that launched children by environment variables; a second job of a sweep
    would take itself for such a child and wait for siblings that never come. A job that is interrupted ends its
    children, and those end with the process that launched them.
    """
    parent = os.getppid() if os.environ.get(_PARENT) == str(os.getppid()) else None
    before = dict(os.environ)
    _times_agreed.clear()
    os.environ[_PARENT] = str(os.getpid())
    children: list[Popen[bytes]] = []
    over = threading.Event()

    def tell() -> None:
        if parent is not None and parent == os.getppid():  # else it is gone, and its number may be another's
            with suppress(ProcessLookupError):
                os.kill(parent, signal.SIGTERM)
        for launcher in _launchers:
            children.extend(launcher.procs)
            launcher.procs.clear()  # Lightning would take their end for a crash, and kill this process too
        for child in children:
            child.send_signal(signal.SIGTERM)

    _join_launched_group(accelerator)
    try:
        with signals.on_interruption(tell):
            if parent is not None:
                threading.Thread(target=_end_with, args=(parent, over), daemon=True).start()
            yield
    finally:
        over.set()
        if grouped():
            import torch.distributed as dist

            dist.destroy_process_group()
        _launchers.clear()
        _end(children)
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def heed_signals(trainer: Trainer) -> None:
    """Make a trainer leave SIGTERM to this process, and that of its children to theirs.

    Lightning hears SIGTERM between batches of training alone, and asks all processes about it, some of which may be
    elsewhere.
    """
    if not signals.handles_signals():
        return
    if hasattr(trainer.strategy.launcher, "procs"):
        _launchers.append(trainer.strategy.launcher)
    connector: Any = trainer._signal_connector
    register = connector.register_signal_handlers

    def register_others() -> None:
        ours = signal.getsignal(signal.SIGTERM)
        register()
        signal.signal(signal.SIGTERM, ours)

    connector.register_signal_handlers = register_others


def _end(children: list[Popen[bytes]]) -> None:
    """Wait for interrupted processes, and not for ever: one may be waiting for another."""
    for child in children:
        try:
            child.wait(signals.GRACE)
        except TimeoutExpired:
            child.kill()
            child.wait()


def _end_with(parent: int, over: threading.Event) -> None:
    """End this process once its parent is gone, unless its job is over first."""
    while not over.wait(0.5):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            if not over.wait(signals.GRACE):
                os._exit(128 + signal.SIGTERM)
            return


def grouped() -> bool:
    """Whether this process is in a group of torch.distributed, which torchrun, SLURM or Lightning has started."""
    # both: an import of torch that was interrupted leaves parts behind
    if not {"torch", "torch.distributed"} <= set(sys.modules):
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _join_launched_group(accelerator: str) -> None:
    """Lightning joins what is already joined, so the plan can be agreed on before a trainer exists."""
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
    if slurm and not torchrun:
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        if not SLURMEnvironment.detect():  # an interactive shell, whose tasks are not ours
            return
        cluster = SLURMEnvironment()
        os.environ["MASTER_ADDR"] = cluster.main_address
        os.environ["MASTER_PORT"] = str(cluster.main_port)
        os.environ["RANK"] = str(cluster.global_rank())
        os.environ["WORLD_SIZE"] = str(cluster.world_size())
    if torchrun or slurm:
        import torch
        import torch.distributed as dist

        # Lightning picks its way of averaging by the backend's name, so it must be one, not torch's default pair
        if accelerator == "cpu" or not torch.cuda.is_available():
            dist.init_process_group("gloo", timeout=_PATIENCE)
        else:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))
            dist.init_process_group("nccl", timeout=_PATIENCE)
