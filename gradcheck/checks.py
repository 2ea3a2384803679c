"""The checks themselves: each describes a function and its claimed gradient to one engine.

A check returns a `Report` and never raises for a wrong gradient; its ``assert_`` twin raises `GradientError` unless
the verdict is ``"pass"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Unpack

from gradcheck.arguments import CheckOptions, read_options, require_callable
from gradcheck.claimants import LayerClaimant, ScalarClaimant, input_names
from gradcheck.errors import InvalidArgument
from gradcheck.evaluation import point_of
from gradcheck.report import Report
from gradcheck.session import Session

__all__ = ["assert_gradient", "assert_layer", "check_gradient", "check_layer"]


def check_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | Literal[True],
    params: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the gradient of a scalar function.

    Each element of ``grad(params)`` is compared with a finite difference whose error is known. What passes is the
    gradient at this point, for these shapes; the report's blind spots say what was out of sight.

    Parameters
    ----------
    f : callable
        ``f(params) -> float``. It gets fresh arrays each time.
    grad : callable or True
        ``grad(params) ->`` tree like ``params``. True: ``f`` returns ``(value, gradient)``.
    params : tree of arrays or floats
        The point. Integer and boolean leaves are held fixed.
    **options
        See `CheckOptions`.

    Returns
    -------
    Report
        ``bool(report)`` is True only for the verdict ``"pass"``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs two calls of ``f`` an element where claim and difference agree, and at most about a hundred more; about
    seventeen for a wrong element. ``grad`` is called twice, four times more when its dtype is coarser than float64.

    Examples
    --------
    >>> import numpy as np
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, np.array([1.0, 2.0])).verdict
    'pass'
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 2 * x**2, np.array([1.0, 2.0])).verdict
    'fail'
    """
    require_callable(f=f)
    if grad is not True:
        require_callable(grad=grad)
    settings = read_options(options)
    return Session(settings, point_of(params, "params"), ScalarClaimant(f, grad), params).run()


def check_layer(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], *inputs: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Check the backward pass of a layer.

    Random upstream gradients ``dy`` are pulled back and compared with finite differences of ``sum(dy * y)``, for all
    inputs and all upstreams at once. The protocol is checked beside the values: linear in ``dy``, zero for zero, equal
    on the second call, nothing changed in place.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> (y, cache)``; ``y`` is an array or a tree of arrays.
    backward : callable
        ``backward(dy, cache) ->`` the gradient, or a tuple in the order of the inputs. None: not differentiated.
    *inputs : trees of arrays or floats
        The point. They are named as in the signature of ``forward``.
    **options
        See `CheckOptions`.

    Returns
    -------
    Report
        Evaluations are calls of ``forward``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs two calls of ``forward`` an element where claim and difference agree, and at most about a hundred more.

    Examples
    --------
    >>> import numpy as np
    >>> def forward(x):
    ...     return np.tanh(x), np.tanh(x)
    >>> check_layer(forward, lambda dy, y: dy * (1 - y**2), np.array([0.5, -1.0])).verdict
    'pass'
    >>> check_layer(forward, lambda dy, y: dy * (1 - y), np.array([0.5, -1.0])).verdict
    'fail'
    """
    require_callable(forward=forward, backward=backward)
    settings = read_options(options, vectorizable=False)
    if not inputs:
        raise InvalidArgument("check_layer needs at least one input of forward; pass them after backward.")
    named = dict(zip(input_names(forward, len(inputs)), inputs, strict=True))
    return Session(settings, point_of(named, "inputs"), LayerClaimant(forward, backward, named), named).run()


def assert_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | Literal[True],
    params: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Do as `check_gradient`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_gradient(f, grad, params, **options)
    report.assert_ok()
    return report


def assert_layer(
    forward: Callable[..., Any], backward: Callable[[Any, Any], Any], *inputs: Any, **options: Unpack[CheckOptions]
) -> Report:
    """Do as `check_layer`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_layer(forward, backward, *inputs, **options)
    report.assert_ok()
    return report
