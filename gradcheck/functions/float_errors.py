"""NumPy's floating-point errors: ours are silent, those of the user's functions are as the user set them.

Infinities and NaN are ordinary results of the engine: they are looked at and decided on, so that a warning about one would
say nothing. A user who asks NumPy to warn or to raise asks it of their own arithmetic.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["SILENT", "as_the_user_set", "at_our_own_points", "silent"]

P = ParamSpec("P")
R = TypeVar("R")

SILENT = dict.fromkeys(("divide", "over", "under", "invalid"), "ignore")

_users: ContextVar[dict[str, Any] | None] = ContextVar("gradcheck_users_float_errors", default=None)
"""What `numpy.geterr` gave outside of the check; None outside of one."""


def silent(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate what computes for a check: its own floating-point errors are silent."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _users.get() is not None:
            return function(*args, **kwargs)
        token = _users.set(dict(np.geterr()))
        try:
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)
        finally:
            _users.reset(token)

    return call


class _Setting:
    """A block with given settings of NumPy's floating-point errors: a class, since one of `contextlib` takes longer and there are thousands."""

    __slots__ = ("_errors", "_token", "_users")

    def __init__(self, errors: dict[str, Any], users: dict[str, Any] | None) -> None:
        self._errors, self._users = np.errstate(**errors), users

    def __enter__(self) -> None:
        self._token = _users.set(self._users)
        self._errors.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._errors.__exit__(kind, error, trace)
        _users.reset(self._token)


def as_the_user_set(errors: dict[str, Any] | None = None) -> _Setting:
    """Call the user's function in a block, entered at once, as outside of the check or as given; a check that it makes is one of its own."""
    return _Setting(errors or _users.get() or {}, None)


def at_our_own_points() -> _Setting:
    """Call the user's functions where they were not asked about: what they think of a point is no matter for a warning."""
    return _Setting(SILENT, SILENT)
