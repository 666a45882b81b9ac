"""The report: one self-contained HTML page that shows where a model fails."""

from weakspot.report.html import render

__all__ = ["render"]
