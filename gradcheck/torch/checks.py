"""Checks of functions and modules as a user of PyTorch writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch

from gradcheck.assertions import asserting
from gradcheck.checks.autodiff import in_order, require_settings
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Report
from gradcheck.torch.arguments import of_function, of_module
from gradcheck.torch.judging import check
from gradcheck.torch.state import kept
from gradcheck.watching import watched

__all__ = ["assert_function", "assert_module", "check_function", "check_module"]


@watched
def check_function(
    fn: Callable[..., Any],
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    order: int = 1,
    reference: str | None = "float64",
    **options: Unpack[CheckOptions],
) -> Report:
    """Check autograd through a function: an `autograd.Function`'s ``apply``, a custom operator, anything made of tensors.

    Parameters
    ----------
    fn : callable
        ``fn(*inputs, **kwargs) ->`` a tensor or any tree of tensors.
    *inputs, kwargs : tensors, trees of tensors, or anything else
        The point. Those are differentiated that require grad; where none does, all floating-point and complex ones.
    order : {1, 2}
        With 2, double backward is checked too; its parameters are named ``x (order 2)``.
    reference : "float64" or None
        Take differences of the function on doubles, or always of the function as it is.
    **options
        See `CheckOptions`. ``vectorized`` is chosen where it is not given: by `torch.func.vmap`, where that gives the same.

    Returns
    -------
    Report
        Parameters are named after the signature of ``fn``; complex ones have a last axis of real and imaginary part.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs as `check_gradient` where the value is a single number, and as `check_vjp` else. Every call starts with the same
    random numbers.

    Examples
    --------
    >>> import torch
    >>> check_function(torch.nn.functional.softplus, torch.linspace(-2, 2, 5)).verdict
    'pass'
    """
    require_callable(fn=fn)
    require_settings(order, reference, options)
    if isinstance(fn, torch.nn.Module):
        return check_module(fn, *inputs, kwargs=kwargs, reference=reference, **options)
    return in_order(order, of_function(fn, inputs, kwargs), lambda problem: check(problem, reference, options))


@watched
def check_module(
    module: torch.nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    loss: Callable[[Any], Any] | None = None,
    wrt: str | Sequence[str] = "*",
    reference: str | None = "float64",
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the gradients of a module's parameters, and of the inputs that require grad.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode, with the buffers and the hooks that it has; all of it is as before afterwards.
    *inputs, kwargs
        What it is called with.
    loss : callable, optional
        ``loss(output) ->`` a single number. Default: random cotangents of all floating-point outputs.
    wrt : str or sequence of str
        Names or patterns of what is checked, ``"head.*"`` for example; the rest is held fixed.
    reference : "float64" or None
        Take differences of the module on doubles, or always of the module as it is.
    **options
        See `CheckOptions`, and `check_function` for ``vectorized``.

    Returns
    -------
    Report
        Parameters are named as in ``named_parameters()``, inputs as in the signature of ``forward``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs as `check_gradient` or `check_vjp`: more than 10,000 elements are judged together, in 50 to 150 evaluations.

    Examples
    --------
    >>> import torch
    >>> check_module(torch.nn.Linear(4, 3), torch.randn(5, 4)).verdict
    'pass'
    """
    if not isinstance(module, torch.nn.Module):
        raise InvalidArgument(
            f"module is {described(module)}; a torch.nn.Module was required, and not its class; for a function use "
            "check_function."
        )
    require_settings(1, reference, options)
    if loss is not None:
        require_callable(loss=loss)
    with kept(module):
        return check(of_module(module, inputs, kwargs, loss, wrt), reference, options)


assert_function = asserting(check_function, __name__)
assert_module = asserting(check_module, __name__)
