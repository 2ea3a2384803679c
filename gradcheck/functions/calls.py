"""Further arguments of the user's functions, and what to say where they are given in another way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from reprlib import repr as abbreviated
from typing import Any

from gradcheck.errors import InvalidArgument

__all__ = ["bound", "refuse_extras", "with_keywords"]

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A function of a point with further arguments behind it. It pickles where the function does."""

    function: Function
    args: tuple[Any, ...]

    @property
    def __wrapped__(self) -> Function:
        """The function itself, for who asks for its signature."""
        return self.function

    def __call__(self, point: Any) -> Any:
        """Call it."""
        return self.function(point, *self.args)


def bound(args: Any, kwargs: Mapping[str, Any] | None, **functions: Any) -> list[Any]:
    """Hand ``args`` and ``kwargs`` to functions after the point; what cannot be called stays as it is.

    Raises
    ------
    InvalidArgument
        For keyword arguments that are none.
    """
    behind = args if isinstance(args, tuple) else tuple(args) if isinstance(args, list) else (args,)
    called = with_keywords(kwargs, **functions)
    return [_Bound(function, behind) if behind and callable(function) else function for function in called]


def with_keywords(kwargs: Mapping[str, Any] | None, **functions: Any) -> list[Any]:
    """Hand keyword arguments to functions; what cannot be called stays as it is.

    Raises
    ------
    InvalidArgument
        For keyword arguments that are none.
    """
    if kwargs is None:
        return list(functions.values())
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise InvalidArgument(
            f"kwargs={abbreviated(kwargs)} is a {type(kwargs).__name__}; a dict of names and values was required, "
            "which is handed over as keyword arguments."
        )
    return [partial(function, **kwargs) if callable(function) else function for function in functions.values()]


def refuse_extras(check: str, extras: tuple[Any, ...]) -> None:
    """Raise `InvalidArgument` for positional arguments behind the point."""
    if extras:
        raise InvalidArgument(
            f"{check} takes two functions and a point, and {len(extras)} more {'was' if len(extras) == 1 else 'were'} "
            "given; hand further arguments of the functions over as args=(...) or kwargs={...}, or call check_layer or "
            "check_vjp, which take several inputs."
        )
