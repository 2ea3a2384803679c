"""The checks of first derivatives: each describes a function and its claimed derivative to one engine.

A check returns a `Report` and never raises for a wrong gradient; its ``assert_`` twin raises `GradientError` unless
the verdict is ``"pass"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Unpack

from gradcheck.checks.check import Check, Reference
from gradcheck.checks.exchanged import note_on
from gradcheck.checks.layers import PAIR, LayerSubject
from gradcheck.checks.pushforwards import JvpSubject
from gradcheck.checks.run import run
from gradcheck.checks.scalar import GivenGradient, ScalarSubject, is_claim
from gradcheck.checks.subjects import VjpSubject, input_names
from gradcheck.errors import InvalidArgument
from gradcheck.functions.calls import FURTHER, bound, refuse_extras, require_order, with_keywords
from gradcheck.functions.in_place import displacing
from gradcheck.functions.options import CheckOptions, read_options, require_callable, require_flag
from gradcheck.functions.points import inputs_of, point_of
from gradcheck.functions.selection import Wrt
from gradcheck.reports.report import Report
from gradcheck.watching import watched

__all__ = ["check_gradient", "check_jvp", "check_layer", "check_vjp"]

GRADIENT = "check_gradient(f, grad, params)"
LAYER = "check_layer(forward, backward, *inputs)"
VJP = "check_vjp(f, vjp, *inputs)"
JVP = "check_jvp(f, jvp, *inputs)"
"""What messages say of the order of the arguments."""


@watched
def check_gradient(
    f: Callable[..., Any],
    grad: Any,
    params: Any,
    *extras: Any,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
    in_place: bool = False,
    reference: Callable[[Any], Any] | Reference | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the gradient of a scalar function.

    Each element of ``grad(params)`` is compared with a finite difference whose error is known. What passes is the
    gradient at this point, for these shapes; the report's blind spots say what was out of sight.

    Parameters
    ----------
    f : callable
        ``f(params, *args, **kwargs) -> float``. It gets fresh arrays each time, of the kind in which they were given.
    grad : callable, True or tree
        ``grad(params, *args, **kwargs) ->`` tree like ``params``. True: ``f`` returns ``(value, gradient)``. A tree like
        ``params``: the gradient itself, already computed; what would need to call it is left out.
    params : tree of arrays or floats
        The point. Arrays are those of any library. Integer and boolean leaves are held fixed.
    *extras : object
        There are none: further arguments are handed over by ``args`` and ``kwargs``.
    args : tuple, optional
    kwargs : dict, optional
        Handed to ``f`` and ``grad`` after the point.
    wrt : str or sequence of str, optional
        Names of leaves, or patterns such as ``"W*"``: only these are checked, and need a gradient.
    in_place : bool
        For functions that ignore their argument and read the arrays in ``params`` themselves: those are displaced, and
        restored to the last bit. They must be writable; not with ``workers``, ``vectorized`` or ``reference``.
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
    seventeen for a wrong element. ``grad`` is called about six times, four times more when its dtype is coarser than float64,
    and then, where its round-off is in doubt, once with the point in float64, or five times and four times more near by.
    More than 10,000 elements are compared together along random directions: about fifty calls, and a hundred or two for
    each of few wrong elements; see `CheckOptions`.

    Examples
    --------
    >>> import numpy as np
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, np.array([1.0, 2.0])).verdict
    'pass'
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 2 * x**2, np.array([1.0, 2.0])).verdict
    'fail'
    """
    refuse_extras(GRADIENT, extras, FURTHER.replace("kwargs={...}", "args=(...) or kwargs={...}"))
    require_callable(GRADIENT, f=f)
    require_flag("in_place", in_place)
    settings = read_options(options, directional=True)
    point = point_of(params, "params", wrt)
    is_given = is_claim(grad, params)
    if not is_given and grad is not True:
        require_callable(GRADIENT, grad=grad)
    f, claimed = bound(args, kwargs, f=f, grad=None if is_given else grad)
    better = _read(reference, kwargs, args)
    claim = GivenGradient(grad) if is_given else claimed
    if not in_place:
        return run(Check(settings, point, ScalarSubject(f, claim, params), better))
    with displacing(params, point, settings, reference=reference) as place:
        claim = place.bound(claim) if callable(claim) else claim
        return run(Check(settings, point, ScalarSubject(place.bound(f), claim, params), None))


@watched
def check_layer(
    forward: Callable[..., Any],
    backward: Callable[[Any, Any], Any],
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
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
        The point. They are named as in the signature of ``forward``. Those without any float, or with a string, None or
        function in them, are settings: handed through, and their gradients may be left out.
    kwargs : dict, optional
        Handed to ``forward``.
    wrt : str or sequence of str, optional
        Names of inputs or leaves, or patterns: only these are checked, and need a gradient.
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
    require_callable(LAYER, forward=forward, backward=backward)
    settings = read_options(options, vectorizable=False, directional=True)
    (forward,) = with_keywords(kwargs, forward=forward)
    require_order(LAYER, forward=(forward, len(inputs)), backward=(backward, 2))
    named = _named("check_layer", forward, inputs)
    point = inputs_of(named, "inputs", wrt)
    subject = LayerSubject(forward, backward, named, point.held(named))
    try:
        return run(Check(settings, point, subject, _read(reference, kwargs)))
    except Exception as error:
        note_on(error, {PAIR: lambda: subject.fits_swapped(point)})
        raise


@watched
def check_vjp(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
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
    kwargs : dict, optional
        Handed to ``f`` and ``vjp``.
    wrt : str or sequence of str, optional
        Names of inputs or leaves, or patterns: only these are checked, and need a gradient.
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
    Costs two calls of ``f`` an element where claim and difference agree, and at most about a hundred more; six to
    eight calls of ``vjp``, eight more when it works in a dtype coarser than float64. Up to a dozen outputs of very
    different sizes are judged one by one, which takes a call more for each, or five; if there are more, one or two
    products in which each counts alike are asked for too. More than 10,000 elements are compared together along random
    directions, in about fifty calls.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([0.5, -1.0])
    >>> check_vjp(np.matmul, lambda dy, a, b: (np.outer(dy, b), a.T @ dy), a, b).verdict
    'pass'
    >>> check_vjp(np.matmul, lambda dy, a, b: (np.outer(dy, b), a @ dy), a, b).verdict
    'fail'
    """
    require_callable(VJP, f=f, vjp=vjp)
    settings = read_options(options, vectorizable=False, directional=True)
    f, vjp = with_keywords(kwargs, f=f, vjp=vjp)
    require_order(VJP, f=(f, len(inputs)), vjp=(vjp, len(inputs) + 1))
    named = _named("check_vjp", f, inputs)
    point = inputs_of(named, "inputs", wrt)
    return run(Check(settings, point, VjpSubject(f, vjp, named, point.held(named)), _read(reference, kwargs)))


@watched
def check_jvp(
    f: Callable[..., Any],
    jvp: Callable[..., Any],
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
    reference: Callable[..., Any] | Reference | None = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check a Jacobian-vector product.

    ``jvp`` is called with a tangent of one for each element in turn: what it gives is a column of the Jacobian. Its
    numbers are compared with finite differences of ``y``, each on its own; where these would be more than 65,536 in
    all, or the outputs more than 256, random combinations of them are. That it is linear in its tangents, zero for zero,
    the same when called again, and changes nothing in place is checked too.

    Parameters
    ----------
    f : callable
        ``f(*inputs) -> y``, an array or a tree of arrays.
    jvp : callable
        ``jvp(tangents, *inputs) -> dy``, like ``y``. ``tangents`` is always a tuple, one entry for each input and like
        it, in fresh arrays of its dtype. For what is held fixed, integers and booleans, it holds zeros in float64.
    *inputs : trees of arrays or floats
        The point. They are named as in the signature of ``f``.
    kwargs : dict, optional
        Handed to ``f`` and ``jvp``.
    wrt : str or sequence of str, optional
        Names of inputs or leaves, or patterns: only these are moved, the tangents of others are zero.
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
    require_callable(JVP, f=f, jvp=jvp)
    settings = read_options(options, vectorizable=False)
    f, jvp = with_keywords(kwargs, f=f, jvp=jvp)
    require_order(JVP, f=(f, len(inputs)), jvp=(jvp, len(inputs) + 1))
    named = _named("check_jvp", f, inputs)
    return run(Check(settings, inputs_of(named, "inputs", wrt), JvpSubject(f, jvp, named), _read(reference, kwargs)))


def _read(
    reference: Callable[..., Any] | Reference | None, kwargs: Mapping[str, Any] | None, args: Any = ()
) -> Reference | None:
    """Read the reference, which is called with the same arguments as the function."""
    if reference is None:
        return None
    if not isinstance(reference, Reference):
        require_callable(reference=reference)
        reference = Reference(reference)
    (function,) = bound(args, kwargs, function=reference.function)
    return replace(reference, function=function)


def _named(check: str, f: Callable[..., Any], inputs: tuple[Any, ...]) -> dict[str, Any]:
    """Name the inputs after the signature of the function."""
    if not inputs:
        raise InvalidArgument(f"inputs: {check} needs at least one; pass them after the two functions.")
    return dict(zip(input_names(f, len(inputs)), inputs, strict=True))
