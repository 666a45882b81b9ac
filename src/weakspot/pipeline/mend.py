"""Train again so that what a run found is mended: its confirmed findings, sought in the training set, weigh more."""

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
from weakspot.pipeline.plan import pull_predictions, weights_of
from weakspot.pipeline.reweight import Reweight, example_weights, holds_examples
from weakspot.pipeline.search import plan
from weakspot.pipeline.subject import Subject
from weakspot.predictions import Predictions
from weakspot.slices import Slices

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

_INSIDE = 0.5  # membership from which an example counts as one of a finding's

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mend(Reweight):
    """The confirmed findings of a run of discover.py, carried to the training set by the embeddings of its model.

    The model that is trained may have other settings than the one that was audited; dataset and model are the same.

    Attributes:
        folder: Of the run.
        confirm: What the run tested on: a share of its split, or another split.
        group: The attribute whose examples it kept on one side, where it was told one; else the dataset's own.
    """

    folder: Path
    confirm: float | str = 0.5
    group: str | None = None

    @cached_property
    def findings(self) -> Findings:
        """What the run found.

        Raises FileNotFoundError where the folder holds none, and ValueError where there is nothing to mend.
        """
        found = Findings.load(self.folder)
        if found.seeks == "better":
            raise ValueError(
                f"reweight={self.folder}: that run sought what the model serves best (method.flip=true), which needs "
                "no mending; name a run that sought where it fails"
            )
        if not any(finding.confirmed for finding in found.findings):
            raise ValueError(
                f"reweight={self.folder}: that run confirmed nothing, so there is nothing reliable to mend "
                f"({found.title}); search again with more examples, or with another method"
            )
        if "made_from" not in self._manifest(found):
            raise ValueError(
                f"reweight={self.folder}: that run read predictions from a file, and no model here says where the "
                "training examples lie among them; name a run of discover.py with dataset=… and model=…"
            )
        return found

    @cached_property
    def slices(self) -> Slices:
        return Slices.load(self.folder / "slices")

    def identity(self) -> dict[str, Any]:
        return {
            "by": digest(self.folder / "findings.json"),
            "strength": self.strength,
            "first_epoch": self.first_epoch,
        }

    def check(self, subject: Subject) -> None:
        """Raise ValueError unless the run audited this dataset and this model."""
        self._check_epochs(subject)
        theirs = self._manifest(self.findings)["made_from"]
        for part in ("dataset", "model"):
            name, mine = theirs[part]["name"], getattr(subject, part).name
            if name != mine:
                raise ValueError(
                    f"reweight={self.folder}: that run audited {part}={name}, not {part}={mine}, so its findings say "
                    f"nothing of this one; add {part}={name}"
                )
        tested_on = self.findings.confirmation
        if tested_on.mode == "other" and self.confirm not in subject.data(subject.split).splits:
            raise ValueError(
                f"reweight={self.folder}: that run tested on {tested_on.source or 'other predictions'}, on which what "
                "is mended cannot be measured; name a run that tested on a share (confirm=0.5) or a split (confirm=val)"
            )
        audited = self.audited(subject)
        checkpoint = None if audited.checkpoint == "pretrained" else audited.given_checkpoint()
        made_from = json.loads(json.dumps(audited.predictions_made_from(weights_of(audited, checkpoint))))
        for part, said in _SAID.items():
            if made_from[part] != theirs[part]:
                raise ValueError(
                    f"reweight={self.folder}: {said} since that run, or the words are not the same; its line was "
                    f"`{self.findings.command}`"
                )

    def audited(self, subject: Subject) -> Subject:
        """The model in which the run found what is to be mended, on the split that it searched."""
        manifest = self._manifest(self.findings)
        return replace(
            subject, reweight=None, checkpoint=manifest["checkpoint"], split=manifest["made_from"]["split"]
        )

    def callback(self, subject: Subject) -> Callback:
        from weakspot.pipeline.mend_callback import Weighing

        audited = self.audited(subject)
        train, val = (pull_predictions(replace(audited, split=split)) for split in ("train", "val"))
        carried = self._carried(subject)
        if carried is None or train is None or val is None:
            return Weighing(self, None)
        members = carried.membership(train)
        within = holds_examples(members)
        for finding, row, learnable in zip(carried.findings, members, within, strict=True):
            there = count(float(row.sum())) if learnable else "no"
            log.info(
                "reweight: %s training examples in finding %d, %s",
                there,
                finding.number,
                printable(finding.name),
            )
        if not within.any():
            raise ValueError(
                f"reweight={self.folder}: no training example lies in what that run confirmed, so no weight can mend "
                "it; collect examples that are like those of its report"
            )
        weights = example_weights(members, self.strength)
        log.info("reweight: the largest weight of an example is %s", decimal(float(weights.max())))
        val_weights = example_weights(carried.membership(val)[within], self.strength)
        return Weighing(self, {"train": weights, "val": val_weights})

    def compared(self, subject: Subject) -> MendedModelComparison | None:
        audited = self.audited(subject)
        if self.findings.confirmation.mode == "other":
            audited = replace(audited, split=str(self.confirm))
        carried = self._carried(subject)
        before = pull_predictions(audited)
        after = pull_predictions(replace(subject, split=audited.split))
        if carried is None or before is None or after is None:
            return None
        inside = carried.membership(before) >= _INSIDE
        where = f"split {audited.split}"
        rows = np.ones(len(before), dtype=bool)
        if self.findings.confirmation.mode == "held_out":
            rows = self._held(before)
            where = f"{where}, the examples in which nothing was sought"
        return MendedModelComparison.of(
            before.take(rows),
            after.take(rows),
            {
                f"finding {finding.number}, {finding.name}": members[rows]
                for finding, members in zip(carried.findings, inside, strict=True)
            },
            where,
        )

    def _carried(self, subject: Subject) -> FindingClassifier | None:
        """The findings as they can be told in other splits; None on ranks above 0."""
        p = pull_predictions(self.audited(subject))
        return None if p is None else FindingClassifier(self.findings, self.slices, p, ~self._held(p))

    def _held(self, p: Predictions) -> Bool[np.ndarray, " n"]:
        """The examples of the audited split that no slice was sought in."""
        if self.findings.confirmation.mode != "held_out":
            return np.zeros(len(p), dtype=bool)
        group = self.group or p.manifest.get("group")
        held = plan(method_of(self.slices), p, float(self.confirm), group=group).held
        tested = int((held & audit_of(self.slices, p).rows).sum())
        if tested != self.findings.confirmation.tested:
            raise ValueError(
                f"reweight={self.folder}: that run tested on {self.findings.confirmation.tested} examples, not the "
                f"{tested} that its config.yaml says; name a run that searched by itself"
            )
        return held

    @staticmethod
    def _manifest(findings: Findings) -> Mapping[str, Any]:
        manifest: Mapping[str, Any] = findings.provenance.get("predictions") or {}
        return manifest


_SAID = {
    "dataset": "the dataset's settings have changed",
    "task": "the classes have changed",
    "model": "the model's settings have changed",
    "data": "the data have changed",
    "weights": "the audited model has been trained anew",
    "trainer": "trainer.precision has changed",
}
"""By what makes predictions what they are: why findings in others say nothing of these."""
