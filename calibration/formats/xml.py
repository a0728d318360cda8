"""XML calibration files: parsing and attributes, with errors that name file and camera."""

from __future__ import annotations

# The file is the user's own; defusedxml is not needed: ElementTree loads no external entities, and the
# expat of Python >= 3.11 bounds their expansion.
import xml.etree.ElementTree as ET
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.formats.common import Array, numbers, read_bytes


def parse_xml(path: Path, kind: str) -> ET.Element:
    """The root of an XML file; CalibrationError when it is not well-formed."""
    try:
        return ET.fromstring(read_bytes(path))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise CalibrationError(f"not a {kind}", found=str(error), where=str(path)) from error


def attribute(node: ET.Element, name: str, what: str, path: Path) -> str:
    """An attribute's text; CalibrationError that names `what` and the attribute when it is missing."""
    value = node.get(name)
    if value is None:
        raise CalibrationError(
            f"{what} lacks {name}", expected=name, found=", ".join(node.keys()) or "nothing", where=str(path)
        )
    return value


def attribute_numbers(node: ET.Element, name: str, count: int, what: str, path: Path) -> Array:
    """Blank-separated numbers float64 [count] of an attribute."""
    return numbers(attribute(node, name, what, path).split(), (count,), f"{what} {name}", path)
