"""What the user's ini and markers say, read once and refused with a sentence where it makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["options_of_ini", "policy_of_ini", "read_marks"]

INCONCLUSIVE = ("fail", "skip", "xfail", "pass")
"""What becomes of a test in which a check cannot tell."""

MARKER = ("rtol", "method", "max_evaluations", "inconclusive")
"""What the marker takes."""


def policy_of_ini(config: pytest.Config) -> str:
    """Return what the ini says of inconclusive checks."""
    return _policy(config.getini("gradcheck_inconclusive"), "gradcheck_inconclusive")


def options_of_ini(config: pytest.Config) -> dict[str, Any]:
    """Return the options that the ini gives to every check."""
    options = {}
    for name, option, least in (("gradcheck_max_evaluations", "max_evaluations", 1), ("gradcheck_seed", "rng", 0)):
        text = config.getini(name)
        if text:
            if not text.isdecimal() or int(text) < least:
                raise pytest.UsageError(f"{name} = {text} must be a whole number, {least} at least")
            options[option] = int(text)
    return options


def read_marks(item: pytest.Item) -> dict[str, Any]:
    """Return what the markers of a test say together, the closest one first."""
    said: dict[str, Any] = {}
    for mark in item.iter_markers("gradcheck"):
        unknown = [name for name in mark.kwargs if name not in MARKER]
        if mark.args or unknown:
            given = ", ".join([*map(repr, mark.args), *(f"{name}=" for name in unknown)])
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.gradcheck({given}) is not understood; it takes {', '.join(MARKER)}, by name"
            )
        said = {**mark.kwargs, **said}
    if "inconclusive" in said:
        _policy(said["inconclusive"], f"{item.nodeid}: @pytest.mark.gradcheck(inconclusive=...)")
    return said


def _policy(given: object, where: str) -> str:
    if given not in INCONCLUSIVE:
        raise pytest.UsageError(f"{where}: {given!r} is not known; it is one of {', '.join(INCONCLUSIVE)}")
    return str(given)
