"""The report of a session: what is wrong, where, and how good everything is, as one HTML file."""

from mocap.report.findings import Finding, Severity, find, summary_sentence
from mocap.report.take import Take

__all__ = ["Finding", "Severity", "Take", "find", "summary_sentence"]
