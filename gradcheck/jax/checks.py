"""The check of JAX's derivatives as a user writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from gradcheck.assertions import asserting
from gradcheck.checks.autodiff import in_order, require_settings
from gradcheck.errors import InvalidArgument
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.jax.arguments import of_function, positions
from gradcheck.jax.judging import check
from gradcheck.reports.report import Report
from gradcheck.watching import watched

__all__ = ["assert_grad", "check_grad"]

MODES = ("rev", "fwd")


@watched
def check_grad(
    f: Callable[..., Any],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    static_argnums: int | Sequence[int] = (),
    order: int = 1,
    modes: str | Sequence[str] = MODES,
    reference: str | None = "float64",
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the derivatives that JAX gives of a function.

    Parameters
    ----------
    f : callable
        ``f(*args, **kwargs) -> y``, an array or any pytree of arrays; ``(y, aux)`` with ``has_aux``.
    *args : pytrees
        The point. Only the floating-point leaves of the arguments in ``argnums`` are differentiated.
    kwargs : dict
        Keyword arguments of ``f``, which are held fixed.
    argnums : int or sequence of int
        Arguments that are differentiated, as in `jax.grad`.
    has_aux : bool
        As in `jax.grad`.
    static_argnums : int or sequence of int
        Arguments that are handed through as they are, settings for example; ``reference`` changes nothing in them.
    order : {1, 2}
        With 2, the derivatives of the first derivative are checked too; their parameters are named ``x (order 2)``.
    modes : {"rev", "fwd"} or sequence of them
        The first that the function has is compared with differences, the other with that one.
    reference : "float64" or None
        Take differences of the function on doubles, or always of the function as it is.
    **options
        See `CheckOptions`; ``vectorized`` is refused.

    Returns
    -------
    Report
        Parameters are named after the signature of ``f`` and the path in the tree: ``params.layers[0].w``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong derivative does not raise.

    Notes
    -----
    Costs as `check_gradient` where the value is a scalar, and as `check_vjp` else; with ``modes=("fwd",)`` as `check_jvp`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> check_grad(lambda p, x: jnp.sum(jnp.tanh(x @ p["w"])), {"w": jnp.ones(3) / 4}, jnp.ones((2, 3))).verdict
    'pass'
    """
    require_callable(f=f)
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or not set(modes) <= set(MODES):
        raise InvalidArgument(f"modes={modes!r} must hold 'rev', 'fwd' or both.")
    require_settings(order, reference, options)
    if not args:
        raise InvalidArgument("args: check_grad needs at least one; pass them after the function.")
    places = (
        positions(name, given, len(args))
        for name, given in {"argnums": argnums, "static_argnums": static_argnums}.items()
    )
    problem = of_function(f, args, kwargs, *places, has_aux=has_aux)
    return in_order(order, problem, lambda problem: check(problem, modes, reference, options))


assert_grad = asserting(check_grad, __name__)
