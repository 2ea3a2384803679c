"""Putting another function in the place of one, for all that hold it, and taking it out again.

The code of the function is exchanged, and no name that stands for it: so it does not matter whether it was imported by name,
is held by a closure, a default argument or a table, or is a static method that a framework calls.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from gradcheck.errors import InvalidArgument, described

__all__ = ["copy_of", "find", "replaced"]


def find(target: str) -> FunctionType:
    """Return the function that ``package.module:function`` names, or ``package.module:Class.method``.

    Raises
    ------
    InvalidArgument
        When there is none, or what is there has no Python code.
    """
    module, _, path = target.partition(":")
    if not module or not path:
        raise InvalidArgument(f"{target!r} names no function; write package.module:function.")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise InvalidArgument(
            f"{target!r}: importing {module} raised {type(error).__name__}: {error}. The name must be the one under which "
            f"the tests import it."
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise InvalidArgument(f"{target!r}: {found!r} has no attribute {name!r}.")
        found = getattr(found, name)
    if hasattr(found, "defvjp"):
        raise InvalidArgument(
            f"{target!r} is what jax.custom_vjp made of a function that returns no gradient; name the backward that was given "
            "to its defvjp."
        )
    while isinstance(found, partial):
        found = found.func
    function = found if inspect.isfunction(found) else inspect.unwrap(getattr(found, "__func__", found))
    if not isinstance(function, FunctionType):
        raise InvalidArgument(
            f"{target!r} is {described(found)}; a function written in Python was required, or a method such as Class.__call__."
        )
    return function


def copy_of(function: FunctionType) -> FunctionType:
    """Return a function that does the same, and goes on doing so while another is in the place of the first."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__dict__.update(function.__dict__)
    copy.__module__, copy.__qualname__, copy.__doc__ = function.__module__, function.__qualname__, function.__doc__
    return copy


@contextmanager
def replaced(function: FunctionType, other: Callable[..., Any]) -> Iterator[None]:
    """Let every call of ``function`` be a call of ``other``; its signature stays what it was."""
    before = function.__code__
    is_signed = "__signature__" in function.__dict__
    if not is_signed:
        function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    function.__code__ = _code_that_calls(other, before)
    try:
        yield
    finally:
        function.__code__ = before
        if not is_signed:
            del function.__signature__  # type: ignore[attr-defined]


def _handing_on(*args: Any, **kwargs: Any) -> Any:
    __tracebackhide__ = True
    other: Any = "the function that is called"
    return other(*args, **kwargs)


def _code_that_calls(other: Callable[..., Any], before: CodeType) -> CodeType:
    """Return code that hands a call on; it has as many free variables as the code of before, as an exchange requires."""
    code = _handing_on.__code__
    constants = tuple(other if value == "the function that is called" else value for value in code.co_consts)
    return code.replace(co_consts=constants, co_freevars=before.co_freevars, co_name=before.co_name)
