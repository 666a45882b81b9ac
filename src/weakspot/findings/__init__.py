"""The one record of everything that is said about slices; whoever shows something shows it from here."""

from weakspot.findings.media import Media
from weakspot.findings.record import Finding, Findings

__all__ = ["Finding", "Findings", "Media"]
