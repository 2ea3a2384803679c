"""The checks of whole matrices and of products with them: Jacobian, Hessian, linear maps and their adjoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from gradcheck.checks.adjoint import AdjointTest
from gradcheck.checks.check import Check
from gradcheck.checks.curvature import HessianSubject
from gradcheck.checks.jacobians import JacobianSubject
from gradcheck.checks.linear_maps import vector_like
from gradcheck.checks.run import run
from gradcheck.checks.subjects import HvpSubject
from gradcheck.functions.calls import refuse_extras, require_order, with_keywords
from gradcheck.functions.options import CheckOptions, read_options, require_callable
from gradcheck.functions.points import point_of
from gradcheck.functions.selection import Wrt
from gradcheck.reports.report import Report
from gradcheck.watching import watched

__all__ = ["check_adjoint", "check_hessian", "check_hvp", "check_jacobian"]


@watched
def check_jacobian(
    f: Callable[..., Any],
    jac: Callable[..., Any],
    x: Any,
    *extras: Any,
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check a Jacobian, entry by entry.

    Each output is judged on its own, so an entry does not hide behind larger ones of other outputs.

    Parameters
    ----------
    f : callable
        ``f(x) -> y``, an array of floating-point numbers or a float.
    jac : callable
        ``jac(x) ->`` an array of shape ``y.shape + x.shape``, a sparse matrix or a linear operator; for a tree a tree of
        such blocks, as `jax.jacobian` gives it.
    x : tree of arrays or floats
        The point.
    *extras : object
        There are none: further arguments are handed over by ``kwargs``.
    kwargs : dict, optional
        Handed to both functions.
    wrt : str or sequence of str, optional
        Names of leaves of ``x``, or patterns: only these are differentiated.
    **options
        See `CheckOptions`; ``vectorized`` is refused.

    Returns
    -------
    Report
        Its one parameter is called ``"params"`` and has shape ``y.shape + x.shape``; of a tree each leaf has one.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong Jacobian does not raise.

    Notes
    -----
    Costs two calls of ``f`` an element of ``x``, however many outputs, where claim and difference agree, and at most
    about a hundred more; ``jac`` is called twice, four times more when its dtype is coarser than float64. Some twenty
    numbers are kept for each entry.

    Examples
    --------
    >>> import numpy as np
    >>> f = lambda x: np.array([x[0] * x[1], np.sin(x[0])])
    >>> check_jacobian(f, lambda x: np.array([[x[1], x[0]], [np.cos(x[0]), 0.0]]), np.array([2.0, 3.0])).verdict
    'pass'
    >>> report = check_jacobian(f, lambda x: np.array([[x[1], x[0]], [0.0, np.cos(x[0])]]), np.array([2.0, 3.0]))
    >>> report.parameters["params"].wrong.tolist()
    [[False, False], [True, True]]
    """
    refuse_extras("check_jacobian(f, jac, x)", extras)
    require_callable("check_jacobian(f, jac, x)", f=f, jac=jac)
    settings = read_options(options, vectorizable=False)
    f, jac = with_keywords(kwargs, f=f, jac=jac)
    point = point_of(x, "x", wrt)
    return run(Check(settings, point, JacobianSubject(f, jac, x, point)))


@watched
def check_hvp(
    grad: Callable[..., Any],
    hvp: Callable[..., Any],
    x: Any,
    *extras: Any,
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the product of a Hessian with a vector, given the gradient.

    The Hessian is symmetric, so element ``i`` of ``hvp(x, v)`` is the derivative of ``sum(v * grad(x))`` along
    element ``i``. Two random vectors are used.

    Parameters
    ----------
    grad : callable
        ``grad(x)``, the gradient of some scalar function; it is taken to be right. `check_gradient` checks it.
    hvp : callable
        ``hvp(x, v) ->`` tree like ``x``. ``v`` is like ``x``, with zeros in float64 for what is held fixed.
    x : tree of arrays or floats
        The point. Integer and boolean leaves are held fixed.
    *extras : object
        None; ``v`` is drawn, and further arguments are handed over by ``kwargs``.
    kwargs : dict, optional
        Handed to ``grad`` and ``hvp``.
    wrt : str or sequence of str, optional
        Names of leaves, or patterns: only these are checked, ``v`` is zero elsewhere.
    **options
        See `CheckOptions`; ``vectorized`` is refused.

    Returns
    -------
    Report
        Evaluations are calls of ``grad``, gradient evaluations those of ``hvp``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong product does not raise.

    Notes
    -----
    Costs two calls of ``grad`` an element where claim and difference agree, and at most about a hundred more; six to
    eight calls of ``hvp``, eight more when its dtype is coarser than float64. Where parts of the gradient are of very
    different sizes it is called more often, as in `check_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> check_hvp(lambda x: x**3 / 3, lambda x, v: x**2 * v, np.array([1.0, -2.0])).verdict
    'pass'
    >>> check_hvp(lambda x: x**3 / 3, lambda x, v: x * v, np.array([1.0, -2.0])).parameters["params"].wrong.tolist()
    [False, True]
    """
    refuse_extras("check_hvp(grad, hvp, x)", extras, "v is drawn; further arguments are handed over as kwargs={...}")
    require_callable("check_hvp(grad, hvp, x)", grad=grad, hvp=hvp)
    settings = read_options(options, vectorizable=False)
    grad, hvp = with_keywords(kwargs, grad=grad, hvp=hvp)
    require_order("check_hvp(grad, hvp, x)", grad=(grad, 1), hvp=(hvp, 2))
    point = point_of(x, "x", wrt)
    return run(Check(settings, point, HvpSubject(grad, hvp, x, point)))


@watched
def check_adjoint(
    matvec: Callable[[Any], Any],
    rmatvec: Callable[[Any], Any],
    x: Any,
    y: Any,
    *extras: Any,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check that one linear map is the adjoint of another: the dot test.

    ``<matvec(x), y> = <x, rmatvec(y)>`` must hold for the pair given and for random ones, and element ``i`` of
    ``rmatvec(y)`` must be ``<matvec(e_i), y>``. That both maps are linear, give the same when called again and change
    nothing in place is checked too. There are no differences: what is tolerated beside ``rtol`` is rounding, measured.

    Parameters
    ----------
    matvec : callable
        ``matvec(x) ->`` an array like ``y``.
    rmatvec : callable
        ``rmatvec(y) ->`` an array like ``x``.
    x, y : arrays of floats or complex numbers, or numbers
        They give shapes and dtypes. Between complex spaces both maps must be complex linear and the inner product is
        conjugate linear in its first argument; where one space is real, only its real part counts.
    *extras : object
        None: both maps take one vector.
    **options
        See `CheckOptions`; ``vectorized`` is refused, and ``workers`` have nothing to do: both maps are called in this
        thread, a thousand times at most.

    Returns
    -------
    Report
        Its parameter is what ``rmatvec`` gives for a random vector and is called ``"x"``; a complex one is reported as
        ``"x.real"`` and ``"x.imag"``. Evaluations are calls of ``matvec``, gradient evaluations those of ``rmatvec``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong adjoint does not raise.

    Notes
    -----
    Costs nine calls of each map, and one of ``matvec`` for each element of ``x`` (two where ``x`` is complex and ``y``
    real), but for no more than a thousand elements; the blind spots say so where there are more.

    Examples
    --------
    >>> import numpy as np
    >>> check_adjoint(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1], np.ones(4), np.ones(4)).verdict
    'pass'
    >>> check_adjoint(np.cumsum, np.cumsum, np.ones(4), np.ones(4)).findings[0].code
    'not-adjoint'
    """
    refuse_extras(
        "check_adjoint(matvec, rmatvec, x, y)", extras, "both maps take one vector; bind the rest with a lambda"
    )
    require_callable("check_adjoint(matvec, rmatvec, x, y)", matvec=matvec, rmatvec=rmatvec)
    settings = read_options(options, vectorizable=False, analytic=False)
    return AdjointTest(settings, matvec, rmatvec, vector_like(x, "x"), vector_like(y, "y")).run()


@watched
def check_hessian(
    f: Callable[..., Any],
    hess: Callable[..., Any],
    x: Any,
    *extras: Any,
    kwargs: Mapping[str, Any] | None = None,
    wrt: Wrt = None,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check a Hessian, entry by entry, with nothing but values of the function.

    Parameters
    ----------
    f : callable
        ``f(x) -> float``.
    hess : callable
        ``hess(x) ->`` an array of shape ``x.shape + x.shape``, a sparse matrix or a linear operator; for a tree a tree of
        trees of such blocks, as `jax.hessian` gives it.
    x : tree of arrays or floats
        The point.
    *extras : object
        There are none: further arguments are handed over by ``kwargs``.
    kwargs : dict, optional
        Handed to both functions.
    wrt : str or sequence of str, optional
        Names of leaves of ``x``, or patterns: only these are differentiated.
    **options
        See `CheckOptions`.

    Returns
    -------
    Report
        Its one parameter is called ``"params"`` and has shape ``x.shape + x.shape``; of a tree there is one for each two
        leaves, called ``a.b``. A claim that is not symmetric is a
        finding.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong Hessian does not raise.

    Notes
    -----
    Costs about ``10 n**2`` calls of ``f`` for ``n`` elements; twice that for wrong entries, and up to three times for
    those that a kink or an oscillation keeps from settling. Where there is a gradient, `check_hvp`, or `check_jacobian`
    of the gradient, is cheaper and sees more, because a second difference of values loses more digits to noise.

    Examples
    --------
    >>> import numpy as np
    >>> f = lambda x: x[0] ** 2 * x[1]
    >>> check_hessian(f, lambda x: np.array([[2 * x[1], 2 * x[0]], [2 * x[0], 0.0]]), np.array([1.0, 3.0])).verdict
    'pass'
    >>> report = check_hessian(f, lambda x: np.array([[2 * x[1], x[0]], [x[0], 0.0]]), np.array([1.0, 3.0]))
    >>> report.parameters["params"].wrong.tolist()
    [[False, True], [True, False]]
    """
    refuse_extras("check_hessian(f, hess, x)", extras)
    require_callable("check_hessian(f, hess, x)", f=f, hess=hess)
    settings = read_options(options, analytic=False)
    f, hess = with_keywords(kwargs, f=f, hess=hess)
    point = point_of(x, "x", wrt)
    return run(Check(settings, point, HessianSubject(f, hess, x, point)))
