"""The checks of first derivatives: each describes a function and its claimed derivative to one engine.

A check returns a `Report` and never raises for a wrong gradient; its ``assert_`` twin raises `GradientError` unless
the verdict is ``"pass"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Unpack

from gradcheck.checks.check import Check, Reference
from gradcheck.checks.claimants import LayerClaimant, ScalarClaimant, VjpClaimant, input_names
from gradcheck.checks.pushforwards import JvpClaimant
from gradcheck.checks.run import run
from gradcheck.errors import InvalidArgument
from gradcheck.functions.options import CheckOptions, read_options, require_callable
from gradcheck.functions.points import inputs_of, point_of
from gradcheck.reports.report import Report

__all__ = ["check_gradient", "check_jvp", "check_layer", "check_vjp"]


def check_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | Literal[True],
    params: Any,
    *,
    reference: Callable[[Any], Any] | Reference | None = None,
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
    reference : callable, optional
        ``reference(params) -> float``, the same function computed better, in float64 where ``f`` works in float32.
        Differences are taken of it, at parameters widened to float64, and ``grad`` is judged at its own dtype's accuracy.
        Where it gives another value than ``f`` at the point, by more than rounding, the verdict is ``"inconclusive"``,
        with the finding ``reference-differs``.
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
    More than 10,000 elements are compared together along random directions: about fifty calls, and a hundred or two for
    each of few wrong elements; see `CheckOptions` and `gradcheck.acceptance.directional`.

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
    settings = read_options(options, directional=True)
    return run(Check(settings, point_of(params, "params"), ScalarClaimant(f, grad, params), _read(reference)))


def check_layer(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    *inputs: Any,
    reference: Callable[..., Any] | Reference | None = None,
    **options: Unpack[CheckOptions],
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
    reference : callable, optional
        ``reference(*inputs) -> y`` or ``(y, cache)``, the same forward computed better; see `check_gradient`.
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
    Costs two calls of ``forward`` an element where claim and difference agree, and at most about a hundred more; about
    fifty for more than 10,000 elements, which are compared together along random directions.

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
    settings = read_options(options, vectorizable=False, directional=True)
    named = _named("check_layer", forward, inputs)
    point = inputs_of(named, "inputs")
    claimant = LayerClaimant(forward, backward, named, point.settings)
    return run(Check(settings, point, claimant, _read(reference)))


def check_vjp(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *inputs: Any,
    reference: Callable[..., Any] | Reference | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check a vector-Jacobian product.

    The same as `check_layer`, for functions that recompute what they need instead of keeping a cache.

    Parameters
    ----------
    f : callable
        ``f(*inputs) -> y``, an array or a tree of arrays.
    vjp : callable
        ``vjp(dy, *inputs) ->`` a tuple of gradients in the order of the inputs, or the gradient where there is one
        input. None: not differentiated. ``dy`` has exactly the shapes and dtypes of ``y``.
    *inputs : trees of arrays or floats
        The point. They are named as in the signature of ``f``. Integers and booleans are held fixed.
    reference : callable, optional
        ``reference(*inputs) -> y``, the same function computed better; see `check_gradient`.
    **options
        See `CheckOptions`; ``vectorized`` is refused.

    Returns
    -------
    Report

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong product does not raise.

    Notes
    -----
    Costs two calls of ``f`` an element where claim and difference agree, and at most about a hundred more; six calls
    of ``vjp``, eight more when it works in a dtype coarser than float64. More than 10,000 elements are compared together
    along random directions, in about fifty calls.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([0.5, -1.0])
    >>> check_vjp(np.matmul, lambda dy, a, b: (np.outer(dy, b), a.T @ dy), a, b).verdict
    'pass'
    >>> check_vjp(np.matmul, lambda dy, a, b: (np.outer(dy, b), a @ dy), a, b).verdict
    'fail'
    """
    require_callable(f=f, vjp=vjp)
    settings = read_options(options, vectorizable=False, directional=True)
    named = _named("check_vjp", f, inputs)
    point = inputs_of(named, "inputs")
    return run(Check(settings, point, VjpClaimant(f, vjp, named, point.settings), _read(reference)))


def check_jvp(
    f: Callable[..., Any],
    jvp: Callable[..., Any],
    *inputs: Any,
    reference: Callable[..., Any] | Reference | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check a Jacobian-vector product.

    ``jvp`` is called with a tangent of one for each element in turn: what it gives is a column of the Jacobian, and two
    random combinations of its numbers are compared with finite differences of the same combinations of ``y``. That it
    is linear in its tangents, zero for zero, the same when called again, and changes nothing in place is checked too.

    Parameters
    ----------
    f : callable
        ``f(*inputs) -> y``, an array or a tree of arrays.
    jvp : callable
        ``jvp(tangents, *inputs) -> dy``, like ``y``. ``tangents`` is always a tuple, one entry for each input and like
        it, in fresh arrays of its dtype. For what is held fixed, integers and booleans, it holds zeros in float64.
    *inputs : trees of arrays or floats
        The point. They are named as in the signature of ``f``.
    reference : callable, optional
        ``reference(*inputs) -> y``, the same function computed better; see `check_gradient`.
    **options
        See `CheckOptions`; ``vectorized`` is refused.

    Returns
    -------
    Report
        In the shapes of the inputs: an element is wrong when the column of the Jacobian that belongs to it is.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong product does not raise.

    Notes
    -----
    Costs two calls of ``f`` and one of ``jvp`` an element where claim and difference agree, and at most about a hundred
    more; five of ``jvp`` an element when it works in a dtype coarser than float64.

    Examples
    --------
    >>> import numpy as np
    >>> check_jvp(np.sin, lambda tangents, x: np.cos(x) * tangents[0], np.array([0.5, 2.0])).verdict
    'pass'
    >>> check_jvp(np.sin, lambda tangents, x: np.cos(x) * abs(tangents[0]), np.array([0.5, 2.0])).findings[0].code
    'not-linear'
    """
    require_callable(f=f, jvp=jvp)
    settings = read_options(options, vectorizable=False)
    named = _named("check_jvp", f, inputs)
    return run(Check(settings, inputs_of(named, "inputs"), JvpClaimant(f, jvp, named), _read(reference)))


def _read(reference: Callable[..., Any] | Reference | None) -> Reference | None:
    if reference is None or isinstance(reference, Reference):
        return reference
    require_callable(reference=reference)
    return Reference(reference)


def _named(check: str, f: Callable[..., Any], inputs: tuple[Any, ...]) -> dict[str, Any]:
    """Name the inputs after the signature of the function."""
    if not inputs:
        raise InvalidArgument(f"inputs: {check} needs at least one; pass them after the two functions.")
    return dict(zip(input_names(f, len(inputs)), inputs, strict=True))
