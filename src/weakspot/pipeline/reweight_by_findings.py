"""Reweighting by findings: a run's confirmed findings, located in the training set, get more weight in training."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from weakspot.findings import Findings
from weakspot.findings.finding_classifier import FindingClassifier
from weakspot.findings.mended_model import MendedModelComparison
from weakspot.findings.numbers import count, decimal
from weakspot.identity import digest
from weakspot.legible import printable
from weakspot.methods import audit_of, method_of
from weakspot.pipeline.audit_target import AuditTarget
from weakspot.pipeline.reweight import Reweight, example_weights, holds_examples
from weakspot.pipeline.saved_runs import SLICES, check_belong_together
from weakspot.pipeline.search import plan_search
from weakspot.pipeline.store_folders import embedding_identity, predictions_made_from
from weakspot.pipeline.upstream import pull_predictions, weights_digest
from weakspot.predictions import Predictions
from weakspot.slices import Slices

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

_MIN_MEMBERSHIP = 0.5  # an example with at least this membership counts as a member of a finding

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReweightByFindings(Reweight):
    """Reweights by the confirmed findings of a run, located in the training set by the embeddings that it searched.

    The model may be trained with other settings than the audited one, and the target may have other embeddings; the
    dataset and the model must be the same.

    Attributes:
        folder: The run's folder.
        confirm: What the run tested on: a share of its split, or another split.
        group: The attribute whose values the run kept on one side of the split, if it was given one; otherwise the
            dataset's own is used.
    """

    folder: Path
    confirm: float | str = 0.5
    group: str | None = None

    @cached_property
    def findings(self) -> Findings:
        """The findings of the run.

        Raises:
            FileNotFoundError: If the folder holds none.
            ValueError: If there is nothing to train against.
        """
        found = Findings.load(self.folder)
        if found.seeks == "better":
            raise ValueError(
                f"reweight={self.folder}: that run searched for the lowest losses (method.flip=true), where the "
                "model needs no improvement; name a run that searched for failures"
            )
        if found.confirmation.mode == "off":
            why = found.confirmation.untested_because or "it was made with confirm=0, which tests nothing"
            raise ValueError(
                f"reweight={self.folder}: that run confirmed nothing, so there is nothing reliable to train against "
                f"({why}); name a run with confirm=0.5, of a method whose slices can be tested"
            )
        if not any(finding.confirmed for finding in found.findings):
            raise ValueError(
                f"reweight={self.folder}: that run confirmed nothing, so there is nothing reliable to train against "
                f"({found.title}); search again with more examples, or with another method"
            )
        if "made_from" not in self._manifest(found):
            raise ValueError(
                f"reweight={self.folder}: that run read predictions from a file, so the model that could "
                "locate its findings in the training set is not known; name a run of discover.py with dataset=… and "
                "model=…"
            )
        return found

    @cached_property
    def slices(self) -> Slices:
        """The slices of the run."""
        return Slices.load(self.folder / SLICES)

    def identity(self, target: AuditTarget) -> dict[str, Any]:
        return {
            "by": digest(self.folder / "findings.json"),
            "strength": self.strength,
            "first_epoch": self.first_epoch,
            **embedding_identity(self.audited(target)),
        }

    def check(self, target: AuditTarget) -> None:
        """Check that the run audited this dataset and this model.

        Raises:
            ValueError: If it did not, if its slices cannot be tested or its embeddings cannot be computed, or if its
                folder holds the slices of another run.
        """
        self._check_epochs(target)
        audited_settings = self._manifest(self.findings)["made_from"]
        for part in ("dataset", "model"):
            name, own_name = audited_settings[part]["name"], getattr(target, part).name
            if name != own_name:
                raise ValueError(
                    f"reweight={self.folder}: that run audited {part}={name}, not {part}={own_name}, so its findings "
                    f"do not apply to this one; add {part}={name}"
                )
        confirmation = self.findings.confirmation
        if confirmation.mode == "other" and self.confirm not in target.split_dataset(target.split).splits:
            raise ValueError(
                f"reweight={self.folder}: that run tested on {confirmation.tested_on or 'other predictions'}, on "
                "which the effect cannot be measured; name a run that tested on a share (confirm=0.5) or a split "
                "(confirm=val)"
            )
        audited = self.audited(target)
        checkpoint = None if audited.checkpoint == "pretrained" else audited.given_checkpoint()
        made_from = json.loads(
            json.dumps(predictions_made_from(audited, weights_digest(audited, checkpoint)))
        )
        for part, change in _CHANGES.items():
            if made_from[part] != audited_settings[part]:
                raise ValueError(
                    f"reweight={self.folder}: {change} since that run, or the settings are not the same; its command "
                    f"was `{self.findings.command}`"
                )
        if any(made_from.get(part) != audited_settings.get(part) for part in ("encoder", "cam_layer")):
            raise ValueError(
                f"reweight={self.folder}: that run searched the embedding of the "
                f"{self._manifest(self.findings)['embedding']}: repeat its settings on the command line (encoder=…, "
                f"model.cam_layer=…); its command was `{self.findings.command}`"
            )
        check_belong_together(self.findings, self.slices, self.folder)
        method = method_of(self.slices)
        if not method.testable:
            raise ValueError(
                f"reweight={self.folder}: {method.why_untestable()}; name a run of another method"
            )

    def audited(self, target: AuditTarget) -> AuditTarget:
        """Return the model that the run audited, on the split and in the embedding that it searched."""
        manifest = self._manifest(self.findings)
        made_from = manifest["made_from"]
        return replace(
            target,
            reweight=None,
            checkpoint=manifest["checkpoint"],
            split=made_from["split"],
            embed_layer=made_from.get("embed_layer"),
            encoder=target.encoder if "encoder" in made_from else None,
        )

    def build_callback(self, target: AuditTarget) -> Callback:
        from weakspot.pipeline.weights_callback import WeightsCallback

        audited = self.audited(target)
        train, val = (pull_predictions(replace(audited, split=split)) for split in ("train", "val"))
        classifier = self._finding_classifier(target)
        if classifier is None or train is None or val is None:
            return WeightsCallback(self, None)
        members = classifier.weights(train)
        learnable_findings = holds_examples(members)
        for finding, row, is_learnable in zip(classifier.findings, members, learnable_findings, strict=True):
            members_text = count(float(row.sum())) if is_learnable else "no"
            log.info(
                "reweight: %s training examples in finding %d, %s",
                members_text,
                finding.number,
                printable(finding.subject),
            )
        if not learnable_findings.any():
            raise ValueError(
                f"reweight={self.folder}: no training example lies in what that run confirmed, so weights cannot "
                "help; collect examples like those in its report"
            )
        weights = example_weights(members, self.strength)
        log.info("reweight: the largest weight of an example is %s", decimal(float(weights.max())))
        val_weights = example_weights(classifier.weights(val)[learnable_findings], self.strength)
        return WeightsCallback(self, {"train": weights, "val": val_weights})

    def measure_effect(self, target: AuditTarget) -> MendedModelComparison | None:
        audited = self.audited(target)
        if self.findings.confirmation.mode == "other":
            audited = replace(audited, split=str(self.confirm))
        classifier = self._finding_classifier(target)
        before = pull_predictions(audited)
        after = pull_predictions(replace(target, split=audited.split))
        if classifier is None or before is None or after is None:
            return None
        inside = classifier.weights(before) >= _MIN_MEMBERSHIP
        where = f"split {audited.split}"
        rows = np.ones(len(before), dtype=bool)
        if self.findings.confirmation.mode == "held_out":
            rows = self._held_out_rows(before)
            where = f"{where}, the examples that were held out"
        return MendedModelComparison.of(
            before.take(rows),
            after.take(rows),
            {
                f"finding {finding.number}, {finding.subject}": members[rows]
                for finding, members in zip(classifier.findings, inside, strict=True)
            },
            where,
        )

    def _finding_classifier(self, target: AuditTarget) -> FindingClassifier | None:
        """Return what locates the findings in other splits; None on ranks above 0."""
        p = pull_predictions(self.audited(target))
        return (
            None if p is None else FindingClassifier(self.findings, self.slices, p, ~self._held_out_rows(p))
        )

    def _held_out_rows(self, p: Predictions) -> Bool[np.ndarray, " n"]:
        """Return (n,) the examples of the audited split that were not searched."""
        if self.findings.confirmation.mode != "held_out":
            return np.zeros(len(p), dtype=bool)
        group = self.group or p.manifest.get("group")
        held_out = plan_search(method_of(self.slices), p, float(self.confirm), group=group).held_out
        tested = int((held_out & audit_of(self.slices, p).rows).sum())
        if tested != self.findings.confirmation.tested:
            raise ValueError(
                f"reweight={self.folder}: that run tested on {self.findings.confirmation.tested} examples, not the "
                f"{tested} that its config.yaml says; name a run that did its own search"
            )
        return held_out

    @staticmethod
    def _manifest(findings: Findings) -> Mapping[str, Any]:
        manifest: Mapping[str, Any] = findings.provenance.get("predictions") or {}
        return manifest


_CHANGES = {
    "dataset": "the dataset's settings have changed",
    "task": "the classes have changed",
    "model": "the model's settings have changed",
    "data": "the data have changed",
    "weights": "the audited model has been trained again",
    "trainer": "trainer.precision has changed",
}
"""Why the findings do not apply, by the entry of `made_from` that differs."""
