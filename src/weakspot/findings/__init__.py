"""Findings: everything reported about slices, in one record that the report, W&B, figures and the explorer show."""

from weakspot.evaluation.confirmation import VERDICTS
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.differences import Difference
from weakspot.findings.finding import Finding
from weakspot.findings.media import Media
from weakspot.findings.record import Findings
from weakspot.methods.base import NearMiss

__all__ = ["VERDICTS", "Contrast", "Difference", "Finding", "Findings", "Media", "NearMiss"]
