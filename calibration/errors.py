"""The root of the error family.

It lives in the lowest package so that every layer can raise it; `mocap.errors` adds the
families of the higher layers and is what most code imports from.
"""

from __future__ import annotations


class MocapError(Exception):
    """An error that a person can act on.

    Parameters
    ----------
    problem : str
        What went wrong, in one sentence.
    expected, found : str, optional
        What was expected and what came instead.
    where : str, optional
        The file, camera, stage or setting concerned.
    hint : str, optional
        The next step, best a command.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem, self.expected, self.found = problem, expected, found
        self.where, self.hint = where, hint
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.where}: {self.problem}" if self.where else self.problem
        lines = [head]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.found is not None:
            lines.append(f"  found:    {self.found}")
        if self.hint is not None:
            lines.append(f"  next:     {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, so that the error survives a trip through another process."""
        return (_rebuild, (type(self), self.problem, self.expected, self.found, self.where, self.hint))


def _rebuild(
    kind: type[MocapError],
    problem: str,
    expected: str | None,
    found: str | None,
    where: str | None,
    hint: str | None,
) -> MocapError:
    return kind(problem, expected=expected, found=found, where=where, hint=hint)


class CalibrationError(MocapError):
    """A calibration file or result that cannot be used."""


class SettingsError(MocapError):
    """A setting that does not exist or has the wrong type or range."""
