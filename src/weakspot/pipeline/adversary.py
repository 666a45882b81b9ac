"""An adversary of training: before every epoch a method finds where the model fails now, and the loss follows it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weakspot.findings.mended_model import MendedModelComparison
from weakspot.identity import content_identity
from weakspot.methods import Method
from weakspot.pipeline.checkpoint_files import is_trained
from weakspot.pipeline.plan import pull_predictions
from weakspot.pipeline.ranks import agree, is_main
from weakspot.pipeline.reweight import Reweight
from weakspot.pipeline.search import check_search
from weakspot.pipeline.subject import Subject

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Adversary(Reweight):
    """Slices of the training set, found anew in the embeddings that the model has at the start of each epoch.

    With the Spotlight (one of a tenth of the examples, by the published search, strength 1, from the second epoch on)
    this is the experiment of its authors: `train_fairface_adversary.py` in gregdeon/spotlight.

    Attributes:
        method: What finds them.
        settings: What it was built with, as plain values.
    """

    method: Method
    settings: Mapping[str, Any]

    def identity(self) -> dict[str, Any]:
        return {
            "by": "adversary",
            "method": content_identity(self.settings),
            "strength": self.strength,
            "first_epoch": self.first_epoch,
        }

    def check(self, subject: Subject) -> None:
        self._check_epochs(subject)
        data = subject.data("train")
        check_search(self.method, data.task, data.examples["id"].to_pylist(), data.examples, confirm=0)

    def callback(self, subject: Subject) -> Callback:
        from weakspot.pipeline.adversary_callback import Seeking

        return Seeking(self, subject.module(subject.inference_batch_size))

    def compared(self, subject: Subject) -> MendedModelComparison | None:
        """With the model that the same words make without an adversary, if there is one."""
        plain = replace(subject, reweight=None)
        if not agree("plain", lambda: is_trained(plain.checkpoint_folder())):
            if is_main():
                log.info(
                    "there is no plain model of the same words to compare with; without reweight=… they make it"
                )
            return None
        before, after = pull_predictions(plain), pull_predictions(subject)
        return (
            None
            if before is None or after is None
            else MendedModelComparison.of(before, after, {}, f"split {subject.split}")
        )
