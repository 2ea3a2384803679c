"""Derivatives of JAX functions: automatic, ``custom_vjp`` and ``custom_jvp``, in both modes and in second order.

Differences are taken of the same function in float64, whether or not JAX is set to it, so that a float32 derivative is judged
at float32's accuracy. Forward and reverse mode are compared with each other too, which takes no step at all.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.check import Check, Claimant, Reference
from gradcheck.checks.claimants import VjpClaimant, input_names
from gradcheck.checks.orders import both_orders, with_faults, with_remarks
from gradcheck.checks.pushforwards import JvpClaimant
from gradcheck.checks.run import run
from gradcheck.checks.scalar import ScalarClaimant
from gradcheck.errors import InvalidArgument, MissingDependency
from gradcheck.functions.options import CheckOptions, read_options, require_callable
from gradcheck.functions.points import point_of
from gradcheck.reports.report import Finding, Report
from gradcheck.watching import watched

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:  # pragma: no cover - needs an environment without it
    raise MissingDependency("gradcheck.jax needs jax, which is not installed: pip install jax") from error

__all__ = ["assert_grad", "check_grad"]

Arrays = list[Any]
MODES = ("rev", "fwd")

LACKING = re.compile(r"forward-mode|reverse-mode|custom_vjp|custom_jvp|differentiation rule", re.IGNORECASE)
"""What JAX says where a function has no derivative in some mode."""

NAMES = {"rev": "reverse mode", "fwd": "forward mode"}

UNTRACEABLE = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What a function raises that can be evaluated and differentiated, but not compiled."""

_finfo: Any = jnp.finfo  # JAX gives it no types
_enable_x64: Any = (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64

TANGENTS, NUDGES, ROUNDINGS = 3, 4, 16.0
"""For each leaf, along which forward mode is compared with reverse mode; points an ulp away, at which the round-off of both
shows; and how many standard deviations of that they may differ by, or how many round-offs of the values, beside half the digits of
their dtype."""


@watched
def check_grad(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    static_argnums: int | Sequence[int] = (),
    order: int = 1,
    modes: Sequence[str] = MODES,
    reference: str | None = "float64",
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the derivatives that JAX gives of a function.

    Parameters
    ----------
    f : callable
        ``f(*args) -> y``, an array or any pytree of arrays; ``(y, aux)`` with ``has_aux``.
    *args : pytrees
        The point. Only the floating-point leaves of the arguments in ``argnums`` are differentiated.
    argnums : int or sequence of int
        Arguments that are differentiated, as in `jax.grad`.
    has_aux : bool
        As in `jax.grad`.
    static_argnums : int or sequence of int
        Arguments that are handed through as they are, settings for example; ``reference`` changes nothing in them.
    order : {1, 2}
        With 2, the derivatives of the first derivative are checked too; their parameters are named ``x (order 2)``.
    modes : sequence of {"rev", "fwd"}
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
    if order not in {1, 2}:
        raise InvalidArgument(f"order={order!r} must be 1 or 2.")
    if not modes or not set(modes) <= set(MODES):
        raise InvalidArgument(f"modes={modes!r} must hold 'rev', 'fwd' or both.")
    if reference not in {"float64", None}:
        raise InvalidArgument(f"reference={reference!r} must be 'float64' or None.")
    if not args:
        raise InvalidArgument("args: check_grad needs at least one; pass them after the function.")
    problem = _problem(f, args, _numbers(argnums, len(args)), _numbers(static_argnums, len(args)), has_aux=has_aux)
    report = _check(problem, modes, reference, options)
    return report if order == 1 else both_orders(report, _check(problem.derivative(), modes, reference, options))


def assert_grad(*args: Any, **kwargs: Any) -> Report:
    """Do as `check_grad`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_grad(*args, **kwargs)
    report.assert_ok()
    return report


@dataclass(frozen=True, slots=True)
class _Problem:
    """A function from named arrays to a list of arrays.

    Attributes
    ----------
    function : callable
        ``function(leaves, wide) -> list of arrays``; ``wide`` is whether what it holds fixed is widened too.
    inputs : dict
        Name -> array, of what is differentiated.
    is_wide : bool
        Whether all of it is in double precision as given.
    """

    function: Callable[[Arrays, bool], Arrays]
    inputs: dict[str, NDArray[Any]]
    is_wide: bool

    def plain(self, *leaves: Any) -> Arrays:
        """Return the values at a point."""
        return [np.asarray(part) for part in self.function([jnp.asarray(leaf) for leaf in leaves], False)]

    def pulled(self, dy: Arrays, leaves: Arrays) -> Arrays:
        """Return the products of cotangents with the Jacobian, by reverse mode."""
        values, pull = jax.vjp(lambda x: self.function(x, False), list(map(jnp.asarray, leaves)))
        found: Arrays = pull([jnp.asarray(seed, value.dtype) for seed, value in zip(dy, values, strict=True)])[0]
        return found

    def pushed(self, tangents: Arrays, leaves: Arrays) -> Arrays:
        """Return the products of the Jacobian with tangents, by forward mode."""
        point = list(map(jnp.asarray, leaves))
        moves = [jnp.asarray(move, leaf.dtype) for move, leaf in zip(tangents, point, strict=True)]
        found: Arrays = jax.jvp(lambda x: self.function(x, False), (point,), (moves,))[1]
        return found

    def pull(self, dy: Arrays, *leaves: Any) -> tuple[Any, ...]:
        """Return what `pulled` gives as `check_vjp` asks for it."""
        return tuple(map(np.asarray, self.pulled(dy, list(leaves))))

    def push(self, tangents: tuple[Any, ...], *leaves: Any) -> Arrays:
        """Return what `pushed` gives as `check_jvp` asks for it."""
        return list(map(np.asarray, self.pushed(list(tangents), list(leaves))))

    def derivative(self) -> _Problem:
        """Return the function that pulls one fixed cotangent back."""
        seeds = [np.random.default_rng(0).uniform(0.5, 1.5, part.shape) for part in self.plain(*self.inputs.values())]

        def slope(leaves: Arrays, wide: bool) -> Arrays:  # noqa: FBT001 - one of two forms of every problem
            values, pull = jax.vjp(lambda x: self.function(x, wide), leaves)
            (found,) = pull([jnp.asarray(seed, value.dtype) for seed, value in zip(seeds, values, strict=True)])
            return list(found)

        return _Problem(slope, self.inputs, self.is_wide)


def _problem(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: set[int], static: set[int], *, has_aux: bool
) -> _Problem:
    """Take arguments apart: floating-point leaves that are differentiated, arrays that are held fixed, settings."""
    if argnums & static:
        raise InvalidArgument(f"argument {min(argnums & static)} is both in argnums and in static_argnums.")
    free: dict[str, tuple[int, int]] = {}
    taken = []
    for number, (name, arg) in enumerate(zip(input_names(f, len(args)), args, strict=True)):
        paths, tree = ([], None) if number in static else jax.tree_util.tree_flatten_with_path(arg)
        taken.append(([leaf for _, leaf in paths], tree))
        for place, (path, leaf) in enumerate(paths):
            if number in argnums and _is_float(leaf):
                plain = name + "".join(map(_step, path))
                free[plain if plain not in free else name + jax.tree_util.keystr(path)] = number, place

    def function(leaves: Arrays, wide: bool) -> Arrays:  # noqa: FBT001 - one of two forms of every problem
        moved = dict(zip(free.values(), leaves, strict=True))
        given = [
            arg
            if tree is None
            else tree.unflatten([moved.get((n, i), _wide(leaf) if wide else leaf) for i, leaf in enumerate(parts)])
            for n, ((parts, tree), arg) in enumerate(zip(taken, args, strict=True))
        ]
        value = f(*given)
        return [part for part in jax.tree_util.tree_leaves(value[0] if has_aux else value) if _is_float(part)]

    inputs = {name: np.asarray(jnp.asarray(taken[n][0][i])) for name, (n, i) in free.items()}
    floats = [jnp.asarray(leaf) for parts, _ in taken for leaf in parts if _is_float(leaf)]
    return _Problem(function, inputs, all(leaf.dtype == np.float64 for leaf in floats))


def _check(problem: _Problem, modes: Sequence[str], reference: str | None, options: CheckOptions) -> Report:
    """Compare the first mode that there is with differences, and the other one with it."""
    leaves = list(problem.inputs.values())
    values = problem.plain(*leaves)
    if not any(part.size for part in values):
        raise InvalidArgument("f returned no floating-point number; there is nothing to differentiate.")
    calls = {"rev": _compiled(problem.pulled), "fwd": _compiled(problem.pushed)}
    lacking = {}
    for mode in dict.fromkeys(modes):
        try:
            calls[mode](values if mode == "rev" else leaves, leaves)
        except (TypeError, ValueError, NotImplementedError) as error:
            if not LACKING.search(str(error)):
                raise
            lacking[mode] = error
    present = [mode for mode in dict.fromkeys(modes) if mode not in lacking]
    if not present:
        raise next(iter(lacking.values()))
    claimant = _claimant(problem, present[0], values)
    settings = read_options(options, vectorizable=False, directional=claimant.is_whole)
    better = None
    if reference and not problem.is_wide:
        is_scalar = isinstance(claimant, ScalarClaimant)
        better = Reference(_on_doubles(problem, is_scalar=is_scalar), is_optional=True)
    report = run(Check(settings, point_of(problem.inputs, "args"), claimant, better))
    faults = _compare_modes(problem, calls) if len(present) > 1 else []
    said = [f"{NAMES[mode]}: the function has no derivative in it, so none was checked" for mode in lacking]
    return with_remarks(with_faults(report, faults), *said)


def _claimant(problem: _Problem, mode: str, values: Arrays) -> Claimant:
    if mode == "fwd":
        return JvpClaimant(problem.plain, problem.push, problem.inputs)
    if len(values) == 1 and values[0].size == 1:
        one = np.ones_like(values[0])
        return ScalarClaimant(
            lambda p: problem.plain(*p.values())[0].reshape(()),
            lambda p: dict(zip(p, problem.pull([one], *p.values()), strict=True)),
            problem.inputs,
        )
    return VjpClaimant(problem.plain, problem.pull, problem.inputs)


def _on_doubles(problem: _Problem, *, is_scalar: bool) -> Callable[..., Any]:
    """Return the function in double precision, compiled where it can be: it is called hundreds of times."""
    compiled = _compiled(lambda leaves: problem.function(leaves, True))

    def function(leaves: Iterable[Any]) -> Arrays:
        with _enable_x64(True):
            return [np.asarray(part) for part in compiled([jnp.asarray(leaf) for leaf in leaves])]

    if is_scalar:
        return lambda p: function(p.values())[0].reshape(())
    return lambda *leaves: function(leaves)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; where that cannot be it is called as it is."""
    left: list[Callable[..., Any]] = [jax.jit(function), function]

    def call(*args: Any) -> Any:
        try:
            return left[0](*args)
        except UNTRACEABLE:
            if len(left) == 1:
                raise
            del left[0]
            return left[0](*args)

    return call


def _compare_modes(problem: _Problem, calls: dict[str, Callable[..., Any]]) -> list[Finding]:
    """Compare forward with reverse mode: ``<u, J t>`` is ``<J^T u, t>``, for tangents of one leaf each."""
    rng = np.random.default_rng(0)
    leaves = list(problem.inputs.values())
    values = problem.plain(*leaves)
    seeds = [_signed(rng, part) for part in values]
    of_values = _inner(seeds, values)[1]
    eps = max(float(_finfo(leaf.dtype).eps) for leaf in leaves)
    points = [leaves, *([_nudged(rng, leaf, eps) for leaf in leaves] for _ in range(NUDGES))]
    pulled = [calls["rev"](seeds, point) for point in points]
    found = []
    for number, name in enumerate(problem.inputs):
        for _ in range(TANGENTS):
            moves = [_signed(rng, leaf) * (i == number) for i, leaf in enumerate(leaves)]
            pushed = np.array([_inner(seeds, calls["fwd"](moves, point))[0] for point in points])
            backward, sizes = np.transpose([_inner(moves, gradient) for gradient in pulled])
            # Where the true derivative is zero, as that of a sum of probabilities, both are residues of the values' round-off.
            residue = eps * of_values * _norm(moves[number]) / (_norm(leaves[number]) or np.inf)
            rounding = np.hypot(np.std(pushed), np.std(backward)) + residue
            apart = abs(pushed[0] - backward[0])
            are_nan = np.isnan(pushed[0]) and np.isnan(backward[0])  # the report says so, and they agree
            if not (are_nan or apart <= np.sqrt(eps) * sizes[0] + ROUNDINGS * rounding):
                message = (
                    f"forward and reverse mode differ: along a random tangent {pushed[0]:.6g} and {backward[0]:.6g}, "
                    f"summed from terms of {sizes[0]:.3g} in all"
                )
                found.append(Finding(code="modes-differ", where=name, message=message, evidence={"difference": apart}))
                break
    return found


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _inner(one: Sequence[Any], other: Sequence[Any]) -> tuple[float, float]:
    """Return the inner product in double precision, and the sum of the sizes of its terms."""
    terms = [np.asarray(a, np.float64) * np.asarray(b, np.float64) for a, b in zip(one, other, strict=True)]
    return float(sum(np.sum(part) for part in terms)), float(sum(np.sum(np.abs(part)) for part in terms))


def _norm(leaf: Any) -> float:
    return float(np.linalg.norm(np.asarray(leaf, np.float64).ravel()))


def _signed(rng: np.random.Generator, like: Any) -> NDArray[Any]:
    """Draw numbers of either sign, none of them small."""
    shape = np.shape(like)
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)).astype(like.dtype)


def _nudged(rng: np.random.Generator, leaf: NDArray[Any], eps: float) -> NDArray[Any]:
    return np.asarray(leaf * (1 + rng.choice([-eps, eps], leaf.shape))).astype(leaf.dtype)


def _is_float(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))


def _wide(leaf: Any) -> Any:
    """Return an array of floats in double precision; anything else as it is."""
    return jnp.asarray(leaf, jnp.float64) if hasattr(leaf, "dtype") and _is_float(leaf) else leaf


def _numbers(given: int | Sequence[int], count: int) -> set[int]:
    """Read argnums: positions, which may be counted from the end."""
    numbers = (given,) if isinstance(given, int) else tuple(given)
    bad = [number for number in numbers if not -count <= number < count]
    if bad:
        raise InvalidArgument(f"argnums or static_argnums hold {bad[0]}, but there are {count} arguments.")
    return {number % count for number in numbers}


def _step(key: Any) -> str:
    """Return one step of a path, as people write it."""
    tree = jax.tree_util
    if isinstance(key, tree.GetAttrKey):
        return f".{key.name}"
    if isinstance(key, tree.SequenceKey):
        return f"[{key.idx}]"
    return f".{key.key}" if isinstance(key, tree.DictKey) and isinstance(key.key, str) else f"[{key.key!r}]"
