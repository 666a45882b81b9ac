"""Reweighting by an adversary: before every epoch, a method finds where the model fails and sets the loss weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weakspot.findings.mended_model import MendedModelComparison
from weakspot.identity import content_identity
from weakspot.methods import Method
from weakspot.pipeline.audit_target import AuditTarget
from weakspot.pipeline.checkpoint_files import is_trained
from weakspot.pipeline.processes import broadcast_decision, is_main_process
from weakspot.pipeline.reweight import Reweight
from weakspot.pipeline.search import check_search
from weakspot.pipeline.store_folders import checkpoint_folder, embedding_identity
from weakspot.pipeline.upstream import pull_predictions, use_embedding_source

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReweightByAdversary(Reweight):
    """Reweights by slices of the training set, found again in the target's embeddings at the start of each epoch.

    The embeddings come from the current model (its last layer, or the layer that is named) or from an encoder.

    With the Spotlight (one slice of a tenth of the examples, the published search, strength 1, from the second epoch
    on), this is its authors' experiment: `train_fairface_adversary.py` in gregdeon/spotlight.

    Attributes:
        method: The method that finds the slices.
        settings: The method's settings, as plain values.
    """

    method: Method
    settings: Mapping[str, Any]

    def identity(self, target: AuditTarget) -> dict[str, Any]:
        return {
            "by": "adversary",
            "method": content_identity(self.settings),
            "strength": self.strength,
            "first_epoch": self.first_epoch,
            **embedding_identity(target),
        }

    def check(self, target: AuditTarget) -> None:
        self._check_epochs(target)
        data = target.split_dataset("train")
        check_search(self.method, data.task, data.examples["id"].to_pylist(), data.examples, confirm=0)

    def build_callback(self, target: AuditTarget) -> Callback:
        from weakspot.pipeline.adversary_callback import AdversaryCallback

        return AdversaryCallback(
            self,
            target.data_module(target.inference_batch_size),
            lambda model: use_embedding_source(model, target),
        )

    def measure_effect(self, target: AuditTarget) -> MendedModelComparison | None:
        """Compare with the model trained with the same settings but without an adversary, if there is one."""
        plain = replace(target, reweight=None)
        if not broadcast_decision("plain", lambda: is_trained(checkpoint_folder(plain))):
            if is_main_process():
                log.info(
                    "there is no model without reweight=… to compare with; the same command without it trains one"
                )
            return None
        before, after = pull_predictions(plain), pull_predictions(target)
        return (
            None
            if before is None or after is None
            else MendedModelComparison.of(before, after, {}, f"split {target.split}")
        )
