"""Further arguments of the user's functions, and what to say where they are given in another way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from reprlib import repr as abbreviated
from typing import Any

from gradcheck.errors import InvalidArgument, described

__all__ = ["FURTHER", "bound", "refuse_extras", "require_order", "with_keywords"]

Function = Callable[..., Any]

FURTHER = "hand further arguments of the functions over as kwargs={...}, or call check_vjp or check_layer, which take several inputs"
"""What to do with arguments behind the point."""


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
            f"kwargs={abbreviated(kwargs)} is {described(kwargs)}; a dict of names and values was required, "
            "which is handed over as keyword arguments."
        )
    return [partial(function, **kwargs) if callable(function) else function for function in functions.values()]


def require_order(call: str, **functions: tuple[Function, int]) -> None:
    """Refuse two functions of which each takes as many arguments as the other should.

    Parameters
    ----------
    call : str
        How they are handed over.
    **functions
        Name = (function, the arguments that it is called with), of two.

    Raises
    ------
    InvalidArgument
    """
    (one, (f, few)), (other, (g, many)) = functions.items()
    if few != many and _takes(f, many) and _takes(g, few) and not _takes(f, few) and not _takes(g, many):
        raise InvalidArgument(
            f"{one} takes {many} arguments and {other} {few}, where {few} and {many} were required: are the two swapped? The "
            f"order is {call}."
        )


def _takes(function: Function, count: int) -> bool | None:
    """Tell whether a function can be called with this number of arguments; None where it does not say."""
    try:
        signature = inspect.signature(function)
    except Exception:  # noqa: BLE001 - whatever the attributes of a callable raise
        return None
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def refuse_extras(call: str, extras: tuple[Any, ...], remedy: str = "") -> None:
    """Raise `InvalidArgument` for positional arguments behind the last; ``call`` shows what there is."""
    if extras:
        more = f"{len(extras)} more {'was' if len(extras) == 1 else 'were'} given: {abbreviated(extras[0])}"
        raise InvalidArgument(f"the call is {call}, and {more}; {remedy or FURTHER}.")
