"""The error family of the product: each says what was expected, what came, where, and what to do.

The command line prints one such message and exits non-zero; everything else is a defect of ours.
"""

from __future__ import annotations

from calibration.errors import CalibrationError, MocapError, SettingsError

__all__ = [
    "CalibrationError",
    "DataError",
    "DependencyError",
    "DetectionError",
    "ExportError",
    "MocapError",
    "SessionError",
    "SettingsError",
    "StageError",
    "StorageError",
    "VideoError",
    "WeightsError",
]


class DataError(MocapError):
    """Arrays or interchange files whose content does not fit."""


class VideoError(MocapError):
    """A video that is missing, damaged or does not fit the others."""


class DetectionError(MocapError):
    """A detector that cannot run or found nothing to work with."""


class WeightsError(MocapError):
    """Network weights that are missing, damaged or of another network."""


class StorageError(MocapError):
    """An artifact that is missing, damaged, of another schema, or cannot be written."""


class SessionError(MocapError):
    """A session folder that is not one, or is in use."""


class StageError(MocapError):
    """A stage that could not do its work on the inputs it got."""


class ExportError(MocapError):
    """A result that cannot be written in the format asked for."""


class DependencyError(MocapError):
    """An optional library or program that is not installed."""
