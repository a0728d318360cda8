"""Tables of text into typed settings, with errors that name the nearest valid key."""

from __future__ import annotations

import difflib
import enum
import tomllib
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from mocap.errors import SettingsError

T = TypeVar("T")


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the valid key most like `name`, or all of them."""
    valid = list(valid)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(valid)}"


def parse_table(kind: type[T], table: Any, where: str) -> T:
    """Make a settings dataclass from a table.

    Parameters
    ----------
    kind : type
        A frozen dataclass of plain fields.
    table : dict
        Values by field name, as TOML gives them.
    where : str
        What the table is called in messages.

    Raises
    ------
    SettingsError
        Not a table, an unknown key, a value of the wrong type, or one that the dataclass refuses.
    """
    if not isinstance(table, dict):
        raise SettingsError("not a table", expected=f"a table [{where}]", found=describe(table), where=where)
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise SettingsError(f"there is no setting {key!r}", where=where, hint=nearest(key, known))
    values = {key: convert(value, hints[key], f"{where}.{key}") for key, value in table.items()}
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise SettingsError(f"{name!r} is missing", where=where, hint=f"add {name} = ...")
    try:
        return kind(**values)
    except SettingsError as error:
        raise SettingsError(
            error.problem, expected=error.expected, found=error.found, where=error.where or where, hint=error.hint
        ) from error


def convert(value: Any, hint: Any, where: str) -> Any:
    """A TOML value as the annotated type; SettingsError when it is of another kind."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [o for o in typing.get_args(hint) if o is not type(None)]
        return convert(value, options[0], where)
    if origin is tuple:
        return _convert_tuple(value, typing.get_args(hint), where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _convert_enum(value, hint, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return parse_table(hint, value, where)
    if hint is bool and isinstance(value, bool):
        return bool(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if hint is str and isinstance(value, str):
        return str(value)
    raise SettingsError("a value of the wrong type", expected=_kind_name(hint), found=describe(value), where=where)


def _convert_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise SettingsError("a value of the wrong type", expected="a list", found=describe(value), where=where)
    variadic = len(arguments) == 2 and arguments[1] is Ellipsis
    kinds = [arguments[0]] * len(value) if variadic else list(arguments)
    if len(kinds) != len(value):
        raise SettingsError("wrong length", expected=f"{len(kinds)} entries", found=f"{len(value)}", where=where)
    return tuple(convert(v, k, where) for v, k in zip(value, kinds, strict=True))


def _convert_enum(value: Any, hint: type[enum.Enum], where: str) -> enum.Enum:
    options = [str(m.value) for m in hint]
    if not isinstance(value, str) or value not in options:
        text = nearest(value, options) if isinstance(value, str) else None
        raise SettingsError(
            "not one of the choices", expected=", ".join(options), found=describe(value), where=where, hint=text
        )
    return hint(value)


def _kind_name(hint: Any) -> str:
    names = {bool: "true or false", float: "a number", int: "a whole number", str: "a text in quotes"}
    return names.get(hint, str(hint))


def parse_value(text: str) -> Any:
    """A value of the command line: a TOML value, or a bare word."""
    try:
        return tomllib.loads(f"v = {text.strip()}")["v"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Values by name from ``key=value`` texts; SettingsError when one is of another form."""
    values = {}
    for text in texts:
        key, equals, raw = text.partition("=")
        if not (equals and key.strip() and raw.strip()):
            raise SettingsError("--set is not understood", expected="key=value", found=text)
        values[key.strip()] = parse_value(raw)
    return values


def describe(value: Any) -> str:
    """A value and its kind, for messages."""
    kinds = {bool: "true/false", int: "whole number", float: "number", str: "text", list: "list", dict: "table"}
    plain = value.unwrap() if hasattr(value, "unwrap") else value
    return f"{plain!r} ({kinds.get(type(plain), type(plain).__name__)})"
