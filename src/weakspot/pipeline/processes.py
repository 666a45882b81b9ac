"""Manages the processes of one job: rank 0 decides, the others follow, and none outlives the job."""

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

_PARENT_VARIABLE = "WEAKSPOT_PARENT"
# how long ranks wait while rank 0 waits for another job's shard
_GROUP_TIMEOUT = timedelta(days=1)

# the launchers of this job's trainers, each with the processes that it started, if any
_launchers: list[Any] = []

# torch is imported only where a process group exists: a job of one process may never need it.

_decision_counts: Counter[str] = Counter()
"""How often each decision has been made in this job, by its name."""


def is_main_process() -> bool:
    """Return whether this is rank 0, or the process that is yet to launch the others."""
    if in_process_group():
        import torch.distributed as dist

        return dist.get_rank() == 0
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return int(next((rank for rank in ranks if rank), "0")) == 0


def broadcast_decision(name: str, decide: Callable[[], Any]) -> Any:
    """Return what rank 0 decides, in every process.

    In a process group the decision is broadcast. Children that Lightning is yet to launch run the job from its start,
    and find in the environment what was decided in each of these calls: the first call of a name, the second, and so
    on.

    Args:
        name: The name of the decision.
        decide: Returns the decision, as plain JSON values; it runs on rank 0 alone.
    """
    if in_process_group():
        import torch.distributed as dist

        decisions = [decide() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(decisions)
        return decisions[0]
    _decision_counts[name] += 1
    variable = f"WEAKSPOT_{name.upper()}_{_decision_counts[name]}"
    if is_main_process():
        decision = decide()
        os.environ[variable] = json.dumps(decision)
        return decision
    return json.loads(os.environ[variable])


@contextmanager
def job_processes(accelerator: str = "auto") -> Iterator[None]:
    """Manage the processes of one job: join the group that torchrun or SLURM started, and leave nothing behind for the
    next job.

    Lightning marks the process that launched children by environment variables; a second job of a sweep would take
    itself for such a child and wait for siblings that never come. An interrupted job ends its children, and the
    children end when the process that launched them does.

    Args:
        accelerator: The trainer's accelerator, which decides how processes communicate.
    """
    parent = os.getppid() if os.environ.get(_PARENT_VARIABLE) == str(os.getppid()) else None
    environment = dict(os.environ)
    _decision_counts.clear()
    os.environ[_PARENT_VARIABLE] = str(os.getpid())
    children: list[Popen[bytes]] = []
    finished = threading.Event()

    def forward_interruption() -> None:
        # the process id of a parent that is gone may belong to another process by now
        if parent is not None and parent == os.getppid():
            with suppress(ProcessLookupError):
                os.kill(parent, signal.SIGTERM)
        for launcher in _launchers:
            children.extend(launcher.procs)
            launcher.procs.clear()  # Lightning would take their end for a crash and kill this process, too
        for child in children:
            child.send_signal(signal.SIGTERM)

    _join_launched_group(accelerator)
    try:
        with signals.on_interruption(forward_interruption):
            if parent is not None:
                threading.Thread(target=_end_with, args=(parent, finished), daemon=True).start()
            yield
    finally:
        finished.set()
        if in_process_group():
            import torch.distributed as dist

            dist.destroy_process_group()
        _launchers.clear()
        _end_processes(children)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def keep_sigterm_handler(trainer: Trainer) -> None:
    """Keep this process's own SIGTERM handler, which a trainer would replace, and let it end the trainer's children.

    Lightning reacts to SIGTERM only between batches of training, and asks all processes about it, some of which may
    be elsewhere.
    """
    if not signals.handles_signals():
        return
    if hasattr(trainer.strategy.launcher, "procs"):
        _launchers.append(trainer.strategy.launcher)
    connector: Any = trainer._signal_connector
    register = connector.register_signal_handlers

    def register_other_handlers() -> None:
        own_handler = signal.getsignal(signal.SIGTERM)
        register()
        signal.signal(signal.SIGTERM, own_handler)

    connector.register_signal_handlers = register_other_handlers


def _end_processes(children: list[Popen[bytes]]) -> None:
    """Wait for interrupted processes, and kill them after a while: one may be waiting for another."""
    for child in children:
        try:
            child.wait(signals.GRACE)
        except TimeoutExpired:
            child.kill()
            child.wait()


def _end_with(parent: int, finished: threading.Event) -> None:
    """End this process once its parent is gone, unless its job finishes first."""
    while not finished.wait(0.5):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            if not finished.wait(signals.GRACE):
                os._exit(128 + signal.SIGTERM)
            return


def in_process_group() -> bool:
    """Return whether this process is in a torch.distributed group, which torchrun, SLURM or Lightning has started."""
    # both modules: an interrupted import of torch leaves one behind
    if not {"torch", "torch.distributed"} <= set(sys.modules):
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _join_launched_group(accelerator: str) -> None:
    """Join the group that torchrun or SLURM started, so that the plan can be agreed on before a trainer exists;
    Lightning uses a group that exists.
    """
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
    if slurm and not torchrun:
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        if not SLURMEnvironment.detect():  # an interactive shell, whose tasks do not belong to this job
            return
        cluster = SLURMEnvironment()
        os.environ["MASTER_ADDR"] = cluster.main_address
        os.environ["MASTER_PORT"] = str(cluster.main_port)
        os.environ["RANK"] = str(cluster.global_rank())
        os.environ["WORLD_SIZE"] = str(cluster.world_size())
    if torchrun or slurm:
        import torch
        import torch.distributed as dist

        # Lightning chooses how to average by the backend's name, so it must be one name, not torch's default pair
        if accelerator == "cpu" or not torch.cuda.is_available():
            dist.init_process_group("gloo", timeout=_GROUP_TIMEOUT)
        else:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))
            dist.init_process_group("nccl", timeout=_GROUP_TIMEOUT)
