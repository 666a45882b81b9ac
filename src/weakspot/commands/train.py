"""What `train.py` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.running import opened_logger, say
from weakspot.commands.subject import check_makes, check_whole, subject_of

if TYPE_CHECKING:
    from weakspot.pipeline.reweight import Reweight
    from weakspot.pipeline.subject import Subject
    from weakspot.tracking.loggers import RunLogger


def main(cfg: DictConfig, folder: Path) -> float | None:
    """Returns the validation loss of the epoch that is kept, by which a sweeper may search."""
    from weakspot.pipeline.checkpoint_files import kept_loss
    from weakspot.pipeline.checks import check
    from weakspot.pipeline.plan import describe_plan, pull_checkpoint

    check_makes(cfg)
    check_whole(cfg)
    cfg.checkpoint = "auto"  # also where the audited model would be a given one
    subject = subject_of(cfg)
    check(subject, "train")
    say(describe_plan(subject, "train"))
    with opened_logger(cfg, folder) as logger:
        checkpoint = pull_checkpoint(subject, logger=logger)
        say(f"checkpoint → {checkpoint}")
        if subject.reweight is not None:
            say_what_mending_did(subject, subject.reweight, logger)
    return kept_loss(subject.checkpoint_folder())


def say_what_mending_did(subject: Subject, reweight: Reweight, logger: RunLogger | None) -> None:
    """Say what mending did, and what it cost."""
    from rich.console import Console

    from weakspot.tracking.mended_model import log_mended, mended_table, write_mended

    mended = reweight.compared(subject)
    if mended is None:
        return  # a rank above 0 has done its share, or there is nothing to compare with
    write_mended(mended, subject.checkpoint_folder())
    log_mended(mended, logger)
    Console().print(mended_table(mended))
