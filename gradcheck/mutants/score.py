"""How many wrong gradients a test would notice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument
from gradcheck.functions.arrays import as_numpy
from gradcheck.functions.calls import require_order
from gradcheck.functions.options import default_rtol, read_options, require_callable
from gradcheck.functions.points import Point, point_of
from gradcheck.functions.progress import metering
from gradcheck.functions.tasks import Evaluated
from gradcheck.functions.trees import flatten
from gradcheck.functions.workers import Workers, open_pool
from gradcheck.mutants.behaviours import Accuracy, Taken
from gradcheck.mutants.catalogue import Mutant, by_remedy
from gradcheck.mutants.planting import Patterns, mutants_of, wrap
from gradcheck.mutants.points import point_at, read_points
from gradcheck.watching import watching

__all__ = ["MutationOptions", "MutationScore", "mutation_score"]

Check = Callable[[Any, Any, Any], Any]

HIDDEN = 3000.0
"""What rounding of f hides from any difference quotient, in units of eps times the size of its terms over the size of x:
thirty times the noise, over a hundredth of the scale on which f varies."""

SMALL = 1e-3
"""A leaf whose values are all smaller says nothing of the scale on which f varies, which is then taken to be one."""

AWAY = 0.1
"""Share by which the second point differs, at which a bug that keeps something between calls must show."""


class MutationOptions(TypedDict, total=False):
    """The keyword options of `mutation_score`.

    Attributes
    ----------
    rng : int or numpy.random.Generator
        The same seed plants the same bugs.
    workers : int, map-like or concurrent.futures.Executor, optional
        Who runs the check; as for every check. The score is the same whatever the workers.
    progress : True or callable, optional
        ``progress(done, total)``, in mutants; rising, the last call with ``done == total``.
    """

    rng: int | np.random.Generator
    workers: Workers | None
    progress: Callable[[int, int], object] | bool | None


@dataclass(frozen=True, slots=True)
class MutationScore:
    """Which wrong gradients a check rejects.

    Attributes
    ----------
    caught, survived : tuple of Mutant
        Those it rejects, and those it lets pass.
    equivalent : tuple of Mutant
        Those that are no bugs at their point, and were left out: the gradient equals the right one there, to the accuracy
        that a check may ask for.
    """

    caught: tuple[Mutant, ...]
    survived: tuple[Mutant, ...]
    equivalent: tuple[Mutant, ...]

    @property
    def score(self) -> float:
        """Share of the wrong gradients that are caught; NaN where there are none."""
        count = len(self.caught) + len(self.survived)
        return len(self.caught) / count if count else float("nan")

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={len(getattr(self, name))}" for name in ("caught", "survived", "equivalent"))
        return f"<MutationScore {self.score:.3f}: {counts}>"

    def __str__(self) -> str:
        count = len(self.caught) + len(self.survived)
        left_out = f"{len(self.equivalent)} mutants equal the right gradient at their point, but for what rounding may hide, and were left out"
        lines = [f"{len(self.caught)} of {count} wrong gradients caught (score {self.score:.3f}); {left_out}"]
        if self.survived:
            lines += ["survived, by what would catch them:", *by_remedy(self.survived)]
        return "\n".join(lines)


def mutation_score(
    check: Check,
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any],
    params: Any,
    *,
    points: Sequence[str] = ("given",),
    mutants: Patterns = None,
    **options: Unpack[MutationOptions],
) -> MutationScore:
    """Measure which wrong gradients a check, or a test, would notice.

    Parameters
    ----------
    check : callable
        ``check(f, grad, params)``, called with a wrong gradient each time. It catches it by returning something falsy, or by
        raising any exception but one that skips a test (of pytest or unittest): that test noticed nothing. None counts as
        passed, as the return of a test does; a float, which may be an error, is refused, and a tuple, list or dict with anything in it.
    f : callable
        ``f(params)`` gives a number.
    grad : callable
        ``grad(params)`` gives the right gradient, a tree like ``params``.
    params : tree
        An array, a number, or a nested dict, list, tuple, ... of arrays.
    points : sequence of str
        Where: ``"given"``; ``"zeros"``; ``"tiny"``, each leaf scaled to a root mean square of 1e-6; ``"step"``, one small step
        along the gradient from zeros; ``"float32"``, the given point in single precision. Bugs that survive elsewhere often are
        at points that no test tries.
    mutants : str or sequence of str, optional
        Names or kinds of the catalogue (`gradcheck.mutants.CATALOGUE`), patterns allowed; default all.
    **options
        `MutationOptions`: ``rng``, ``workers``, ``progress``.

    Returns
    -------
    MutationScore
        ``caught``, ``survived``, ``equivalent``, ``score``; as text, the survivors and what would catch them.

    Raises
    ------
    InvalidArgument
        When the check rejects the right gradient, which is tried first at each point; when ``f`` or ``grad`` is not defined
        at a point, or ``grad`` returns no gradient of these parameters; for names that fit nothing.

    Notes
    -----
    A mutant is equivalent when no element differs by more than the relative error that matters in the coarsest dtype met
    (3.3e-7 in float64, 1e-3 in float32) plus what rounding of ``f`` hides: 3000 eps of the sum of sizes ``|f| + sum |g x|``,
    over the size of the element. A check that measures the rounding may see more: such a mutant counts neither for nor against
    it. A bug that keeps something between calls is, where three calls at two points show none.
    Costs one call of ``check`` for each point and each mutant that is not, some forty at a point; each check costs what it
    costs.

    Examples
    --------
    >>> import numpy as np, gradcheck
    >>> def check(f, grad, w):  # looks at one direction only, loosely
    ...     slope = (f(w + 1e-6) - f(w - 1e-6)) / 2e-6
    ...     return np.isclose(slope, grad(w).sum(), rtol=1e-3)
    >>> found = gradcheck.mutation_score(
    ...     check, lambda w: np.sum(w**3), lambda w: 3 * w**2, np.array([1.0, 2.0, -0.5]), mutants=["sign", "flip"]
    ... )
    >>> [mutant.name for mutant in found.survived], found.score
    (['flipped: params'], 0.5)
    """
    call = "mutation_score(check, f, grad, params)"
    require_callable(call, check=check, f=f, grad=grad)
    require_order(call, check=(check, 3), f=(f, 1))
    require_order(call, check=(check, 3), grad=(grad, 1))
    settings = read_options(_options(options))
    given = point_of(params, "params")
    trials: list[Trial] = []
    equivalent: list[Mutant] = []
    pace = 0.0
    for name in read_points(points):
        place, seconds = _place(name, check, f, grad, given)
        pace = max(pace, seconds)
        for mutant in _mutants_at(place, mutants, settings.key):
            tried = _tried(place, mutant)
            if tried is None:
                equivalent.append(mutant)
            else:
                trials.append(tried)
    if not trials and not equivalent and given.free():
        raise InvalidArgument(
            f"mutants={mutants!r} can be planted nowhere in this gradient; give others, or a leaf that it has."
        )
    done = 0

    def received(_: int) -> None:
        nonlocal done
        done += 1
        if meter is not None:
            meter(done)

    with metering(settings.progress, len(trials), "mutants") as meter, open_pool(settings.workers) as pool:
        job = partial(_judge, check, f, grad)
        if pool is None or not trials:
            verdicts = []
            for trial in trials:
                verdicts.append(job([trial]))
                received(0)
        else:
            pool.seconds_per_call = pace
            size = sum(leaf.value.nbytes for leaf in given.leaves)
            verdicts = pool.run(job, [[trial] for trial in trials], received, size)
    caught = [bool(verdict.values[0]) for verdict in verdicts]
    sides = [
        tuple(t.mutant for t, is_caught in zip(trials, caught, strict=True) if is_caught is side)
        for side in (True, False)
    ]
    return MutationScore(sides[0], sides[1], tuple(equivalent))


def _options(options: MutationOptions) -> Any:
    for name in options:
        if name not in MutationOptions.__annotations__:
            known = ", ".join(MutationOptions.__annotations__)
            raise InvalidArgument(
                f"{name}= is not an option; the options are {known}. An option of the check goes into the check: "
                f"lambda f, grad, params: check(f, grad, params, {name}=...)."
            )
    return options


# ---- one point --------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A point at which bugs are tried.

    Attributes
    ----------
    name : str
    point : Point
    gradient : tree
        The right one there.
    accuracy : Accuracy
        To which a check may ask for it.
    grad : callable
    """

    name: str
    point: Point
    gradient: Any
    accuracy: Accuracy
    grad: Callable[[Any], Any]


class Trial(NamedTuple):
    """A bug at a point; it can be sent to another process."""

    tree: Any
    accuracy: Accuracy
    mutant: Mutant


def _place(
    name: str, check: Check, f: Callable[[Any], Any], grad: Callable[[Any], Any], given: Point
) -> tuple[Place, float]:
    """Look at a point, and make sure that the right gradient passes there; return the seconds that took too."""
    try:
        point = point_at(name, given, grad)
        value, gradient = f(point.tree()), grad(point.tree())
    except Exception as error:
        error.add_note(f"raised at the point {name!r}; where f or grad is not defined there, leave it out of points=.")
        raise
    accuracy = _accuracy(name, value, gradient, point)
    started = perf_counter()
    passed, verdict = _passes(check, f, grad, point.tree())
    if not passed:
        raise InvalidArgument(
            f"the check rejects the right gradient at the point {name!r} ({verdict}), so that it would catch everything; mend the "
            f"check or the gradient, or leave the point out of points=."
        )
    return Place(name, point, gradient, accuracy, grad), perf_counter() - started


def _accuracy(name: str, value: Any, gradient: Any, point: Point) -> Accuracy:
    """Return how near a claim must be to the right gradient before a check must let it pass."""
    leaves, _ = flatten(value, root="y", argument="the value of f", is_value=True)
    if len(leaves) != 1 or leaves[0].value.size != 1:
        raise InvalidArgument(
            f"f returned {len(leaves)} arrays, or more than one number; a single number was required."
        )
    taken = _taken(name, gradient, point)
    size = abs(float(leaves[0].value.ravel()[0]))
    free = [point.leaves[i] for i in point.free()]
    slopes = [taken.beside(leaf) for leaf in free]
    pairs = [(leaf, slope) for leaf, slope in zip(free, slopes, strict=True) if slope is not None]
    if not np.isfinite(size) or not all(np.all(np.isfinite(slope)) for _, slope in pairs):
        raise InvalidArgument(
            f"f or its gradient is not finite at the point {name!r}; leave it out of points=, or give other params."
        )
    eps = max([leaves[0].format.eps, *(leaf.format.eps for leaf in free)])
    with np.errstate(all="ignore"):
        size += sum(float(np.sum(np.abs(leaf.value.astype(float) * slope))) for leaf, slope in pairs)
    floors = {leaf.name: HIDDEN * eps * size / _scale(leaf.value) for leaf in free}
    return Accuracy(default_rtol(max([eps, *(leaf.format.eps for leaf in taken.leaves)])), floors)


def _taken(name: str, gradient: Any, point: Point) -> Taken:
    """Flatten the right gradient; refuse a value that does not fit the parameters."""
    taken = Taken.of(gradient)
    sizes = {point.leaves[i].name: point.leaves[i].value.shape for i in point.free()}
    if taken is None or (any(0 not in shape for shape in sizes.values()) and not taken.floats()):
        raise InvalidArgument(
            f"grad returned a {type(gradient).__name__} without floating-point numbers at the point {name!r}; a tree like params was required."
        )
    for leaf in taken.leaves:
        shape = sizes.get(leaf.name, leaf.value.shape)
        if leaf.value.shape != shape and leaf.value.size != 1:
            raise InvalidArgument(
                f"grad returned shape {leaf.value.shape} for {leaf.name}, whose shape is {shape}, at the point {name!r}."
            )
    return taken


def _scale(x: Any) -> Floats:
    """Return the scale on which f varies in each element, as far as the point tells."""
    sizes = np.abs(x.astype(np.float64))
    largest = float(np.max(sizes, initial=0.0))
    return np.maximum(sizes, 0.1 * largest) if largest >= SMALL else np.ones_like(sizes)


def _mutants_at(place: Place, mutants: Patterns, seed: int) -> tuple[Mutant, ...]:
    return mutants_of(
        place.gradient,
        function=place.grad,
        args=(place.point.tree(),),
        mutants=mutants,
        point=place.name,
        seed=seed,
    )


def _tried(place: Place, mutant: Mutant) -> Trial | None:
    """Return a mutant that knows where it is wrong; None for one that is equivalent at its point."""
    mutated = wrap(place.grad, mutant, place.accuracy)
    point = place.point
    mutated(point.tree())
    if mutant.entry.behaviour.is_stateful:
        mutated(point.tree())
    if mutant.entry.behaviour.shows_elsewhere:
        mutated(point.hand(point.moved(AWAY, np.random.default_rng(mutant.key))).tree)
    if not mutated.state.differed:
        return None
    return Trial(point.tree(), place.accuracy, replace(mutant, elements=mutated.state.elements))


# ---- one check --------------------------------------------------------------------------------------------------------


def _judge(check: Check, f: Callable[[Any], Any], grad: Callable[[Any], Any], trials: Sequence[Trial]) -> Evaluated:
    """Return whether the check catches each bug."""
    passed = [_passes(check, f, wrap(grad, trial.mutant, trial.accuracy), trial.tree)[0] for trial in trials]
    return Evaluated(np.array([float(not p) for p in passed]), [])


def _passes(check: Check, f: Any, grad: Any, params: Any) -> tuple[bool, str]:
    """Tell whether a check passes, and how it does not."""
    try:
        with watching(None):  # that wrong gradients fail is nothing to tell of
            answer = check(f, grad, params)
        is_error = _is_float(answer)
        is_container = isinstance(answer, tuple | list | Mapping) and bool(answer)
        passed = answer is None or is_error or bool(answer)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except _skips():
        return True, ""
    except BaseException as error:  # noqa: BLE001 - a failing test raises whatever its library does, pytest.fail too
        lines = str(error).strip().splitlines()
        return False, f"it raised {type(error).__name__}: {lines[0] if lines else ''}"
    if is_error:
        raise InvalidArgument(
            f"the check returned {float(as_numpy(answer)):.3g}, which may be an error; return whether the gradient passes, such as error < 1e-6."
        )
    if is_container:
        raise InvalidArgument(
            f"the check returned a {type(answer).__name__}, which is true whatever it holds; return whether the gradient passes."
        )
    return passed, f"it returned {as_numpy(answer) if isinstance(answer, np.generic) else repr(answer)}"


def _is_float(answer: Any) -> bool:
    """Tell whether a check returned a floating-point number, of any library."""
    if isinstance(answer, float):
        return True
    dtype = getattr(as_numpy(answer), "dtype", None) if hasattr(answer, "dtype") else None
    return dtype is not None and dtype.kind == "f" and np.ndim(answer) == 0


def _skips() -> tuple[type[BaseException], ...]:
    """Return what a test raises that is given up, or expected to fail: pytest counts neither as failed."""
    found: list[type[BaseException]] = []
    if "unittest" in sys.modules:
        found.append(sys.modules["unittest"].SkipTest)
    if "pytest" in sys.modules:
        found += [sys.modules["pytest"].skip.Exception, sys.modules["pytest"].xfail.Exception]
    return tuple(found)
