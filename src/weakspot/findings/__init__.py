"""The one record of everything that is said about slices; whoever shows something shows it from here."""

from weakspot.evaluation.confirmation import VERDICTS
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.differences import Difference
from weakspot.findings.media import Media
from weakspot.findings.record import Finding, Findings
from weakspot.methods.base import NearMiss

__all__ = ["VERDICTS", "Contrast", "Difference", "Finding", "Findings", "Media", "NearMiss"]
