"""Hypothesis strategies for property tests of gradients: only what ``hypothesis.extra.numpy`` lacks.

Shapes, broadcasting and dtypes are Hypothesis' own (``array_shapes``, ``mutually_broadcastable_shapes``); upstream
gradients, memory layouts and random directions are drawn by the checks themselves.

Importing this module registers the Hypothesis profile ``"gradcheck"``: no deadline, and no explain phase. That phase
traces every line while it repeats a failing example, so that a red test takes half a minute in place of half a second.
Load it with ``hypothesis.settings.load_profile("gradcheck")``, or with ``gradcheck_hypothesis_profile = true`` in
pytest's ini file.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gradcheck.errors import InvalidArgument, MissingDependency

try:
    from hypothesis import Phase, settings
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:  # pragma: no cover - the suite has it
    raise MissingDependency(
        'gradcheck.strategies needs Hypothesis: python -m pip install hypothesis (the extra "strategies")'
    ) from error

__all__ = [
    "ConvGeometry",
    "PoolGeometry",
    "conv_geometries",
    "kinked_arrays",
    "pool_geometries",
    "smooth_arrays",
    "trees",
]

Shape: TypeAlias = int | tuple[int, ...]
Floats: TypeAlias = NDArray[np.floating[Any]]
T = TypeVar("T")

settings.register_profile("gradcheck", deadline=None, phases=[phase for phase in Phase if phase is not Phase.explain])

NEAR = (1e-3, 1e-7)
"""Distances from a kink: one that a difference crosses where its step is chosen badly, one that every step crosses."""

KINKS = (0.0, 1.0, -1.0)
"""Where activations, clipped functions and absolute values have kinks most often; equal values are ties beside."""

LARGEST_KERNEL, LARGEST_STRIDE, LARGEST_DILATION, LARGEST_PADDING = 3, 3, 2, 2
"""Enough for every case of a layer: kernels with a middle, strides that skip pixels, windows that lie in the padding."""

NARROWEST = 3.0
"""Smooth arrays cover at least -3 to 3, where activations bend and do not saturate."""


FINEST = 2000
"""Places at which smooth arrays have numbers, one in two of those there are at least: where the gap would allow more, it is taken larger."""


@st.composite
def smooth_arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Any],
    dtype: DTypeLike | st.SearchStrategy[Any] = np.float64,
    *,
    min_gap: float = 1e-2,
    avoid: Sequence[float] = (0.0,),
) -> Floats:
    """Arrays at which the usual layers are differentiable: no ties, nothing near a kink, no subnormal numbers.

    Parameters
    ----------
    shape : int, tuple of int, or a strategy of them
    dtype : float dtype, or a strategy of them
    min_gap : float
        Any two elements differ by this much at least, and each from the numbers to avoid.
    avoid : sequence of float
        Where the function has kinks.

    Returns
    -------
    strategy of arrays
        Of about -3 to 3, wider where there are more elements than fit. They shrink to rising numbers.

    Raises
    ------
    InvalidArgument
        When an example is drawn: where the dtype is no float, or cannot hold so many numbers so far apart, and where a shape, a gap
        or what to avoid is none.

    Examples
    --------
    >>> from hypothesis import given
    >>> from hypothesis.extra.numpy import array_shapes
    >>> @given(smooth_arrays(array_shapes()))
    ... def test_no_two_are_equal(x):
    ...     assert len(np.unique(x)) == x.size
    >>> test_no_two_are_equal()
    """
    size, kind = _shape(_drawn(draw, shape)), _float_dtype(_drawn(draw, dtype))
    kinks, count = _read_gaps(min_gap, avoid), math.prod(size)
    gap = max(float(min_gap), NARROWEST / max(FINEST, 2 * count))
    # The numbers themselves come from a generator: Hypothesis takes long to draw large arrays, and what it would
    # shrink is not what a wrong gradient depends on.
    seed = draw(st.integers(0, 2**32 - 1))
    places = _places(count, gap, kinks)
    if seed:
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(places)[:count] + rng.uniform(-0.25, 0.25, size=count) * gap
    else:
        positive = places[places > 0]
        candidates = positive if len(positive) >= count else places
        chosen = candidates[(np.arange(0.5, count) * len(candidates) / max(count, 1)).astype(int)]
    largest, limits = float(np.max(np.abs(chosen), initial=0.0)), np.finfo(kind)
    if largest > float(limits.max):
        raise InvalidArgument(f"min_gap={min_gap!r} is too large for {count} numbers in {kind}; ask for a smaller one.")
    if largest * limits.eps > 0.5 * gap:  # half of that is the rounding
        raise InvalidArgument(
            f"min_gap={min_gap!r} is too small for {count} numbers in {kind}; ask for a smaller array or another dtype."
        )
    array: NDArray[Any] = chosen.astype(kind).reshape(size)
    return array


def _places(count: int, gap: float, kinks: Floats) -> Floats:
    """Return at least ``count`` numbers, twice the gap apart, and one and a half times from what is to be avoided."""
    half = max(math.ceil(NARROWEST / (2 * gap)), count // 2 + 2 * len(kinks) + 1)
    grid = np.arange(-half, half + 1) * (2.0 * gap)
    return grid[np.all(np.abs(grid[:, None] - kinks) >= 1.5 * gap, axis=1)]


def _read_gaps(min_gap: Any, avoid: Any) -> Floats:
    """Return the numbers to avoid; refuse what are none, and a gap that is no positive number."""
    is_number = isinstance(min_gap, numbers.Real) and not isinstance(min_gap, bool)
    if not is_number or not 0 < min_gap <= sys.float_info.max:
        raise InvalidArgument(f"min_gap={min_gap!r} must be a finite positive number.")
    try:
        kinks = np.array(list(avoid), dtype=float)
    except (TypeError, ValueError, OverflowError):
        kinks = np.array([np.nan])
    if kinks.ndim != 1 or not np.all(np.isfinite(kinks)):
        raise InvalidArgument(f"avoid={avoid!r} must be a sequence of finite numbers, such as (0.0, 1.0).")
    return kinks


def _shape(given: Any) -> tuple[int, ...]:
    sides = given if isinstance(given, tuple | list) else (given,)
    if any(isinstance(side, bool) or not isinstance(side, int | np.integer) or side < 0 for side in sides):
        raise InvalidArgument(f"shape={given!r} must be a whole number, or a tuple of them, none negative.")
    return tuple(int(side) for side in sides)


@st.composite
def kinked_arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Any],
    dtype: DTypeLike | st.SearchStrategy[Any] = np.float64,
) -> Floats:
    """Arrays at and near kinks: zeros, ones, many equal elements, and some a little off.

    A right gradient there is any valid subgradient. Where a claim must be wrong to be caught, beware that at a kink
    several are right.

    Parameters
    ----------
    shape : int, tuple of int, or a strategy of them
    dtype : float dtype, or a strategy of them

    Returns
    -------
    strategy of arrays
        They shrink to zeros.
    """
    size, kind = _shape(_drawn(draw, shape)), _float_dtype(_drawn(draw, dtype))
    values = [*KINKS, 2.0, *(kink + sign * near for near in NEAR for kink in KINKS for sign in (1, -1))]
    elements = st.sampled_from(list(dict.fromkeys(float(kind.type(value)) for value in values)))
    array: Floats = draw(hnp.arrays(kind, size, elements=elements))
    return array


def _drawn(draw: st.DrawFn, value: T | st.SearchStrategy[T]) -> Any:
    return draw(value) if isinstance(value, st.SearchStrategy) else value


def _float_dtype(given: DTypeLike) -> np.dtype[Any]:
    try:
        dtype = np.dtype(given)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind != "f":
        raise InvalidArgument(f"dtype={given!r} is no floating-point dtype; use float16, float32 or float64.")
    return dtype


class ConvGeometry(NamedTuple):
    """A convolution that is defined: shapes of images ``(N, C, *spatial)`` and kernels ``(O, C / groups, *kernel)``."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class PoolGeometry(NamedTuple):
    """A pooling that is defined: the shape of images ``(N, C, *spatial)``; no window lies in the padding alone."""

    x: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]


@st.composite
def conv_geometries(draw: st.DrawFn, ndim: int = 2, max_side: int = 6) -> ConvGeometry:
    """Geometries of convolutions: unequal sides, strides, padding, dilation, groups; always valid.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    max_side : int
        Largest side of an image.

    Returns
    -------
    strategy of ConvGeometry
        It shrinks to one image of one pixel, one kernel of one weight.
    """
    _require_positive(ndim=ndim, max_side=max_side)
    groups, samples, channels, outputs = (draw(st.integers(1, most)) for most in (3, 3, 2, 2))
    kernel = _each(draw, ndim, lambda _: (1, min(LARGEST_KERNEL, max_side)))
    stride = _each(draw, ndim, lambda _: (1, LARGEST_STRIDE))
    padding = _each(draw, ndim, lambda _: (0, LARGEST_PADDING))
    dilation = _each(draw, ndim, lambda i: (1, _most_dilated(kernel[i], padding[i], max_side)))
    image = _each(draw, ndim, lambda i: (max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]), max_side))
    x, w = (samples, groups * channels, *image), (groups * outputs, channels, *kernel)
    return ConvGeometry(x, w, stride, padding, dilation, groups)


def _most_dilated(kernel: int, padding: int, max_side: int) -> int:
    """Return the largest dilation with which a kernel fits into the largest image and its padding."""
    if kernel == 1:
        return LARGEST_DILATION
    return min(LARGEST_DILATION, (max_side - 1 + 2 * padding) // (kernel - 1))


@st.composite
def pool_geometries(draw: st.DrawFn, ndim: int = 2, max_side: int = 6) -> PoolGeometry:
    """Geometries of poolings: windows that overlap, leave pixels out, or reach into the padding; always valid.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    max_side : int
        Largest side of an image.

    Returns
    -------
    strategy of PoolGeometry
        It shrinks to one image of one pixel.
    """
    _require_positive(ndim=ndim, max_side=max_side)
    samples, channels = (draw(st.integers(1, most)) for most in (3, 2))
    kernel = _each(draw, ndim, lambda _: (1, min(LARGEST_KERNEL, max_side)))
    stride = _each(draw, ndim, lambda _: (1, LARGEST_STRIDE))
    padding = _each(draw, ndim, lambda i: (0, kernel[i] // 2))
    image = _each(draw, ndim, lambda i: (max(1, kernel[i] - 2 * padding[i]), max_side))
    return PoolGeometry((samples, channels, *image), kernel, stride, padding)


def _each(draw: st.DrawFn, ndim: int, bounds: Callable[[int], tuple[int, int]]) -> tuple[int, ...]:
    return tuple(draw(st.integers(*bounds(axis))) for axis in range(ndim))


def _require_positive(**sizes: Any) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise InvalidArgument(f"{name}={size!r} must be a positive whole number.")


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nested dicts, lists and tuples of leaves, at least one of them, as parameters of a model are.

    Keys of dicts hold dots, brackets and quotes too: two leaves never share a name in a report, whatever the keys.

    Parameters
    ----------
    leaves : strategy
        Of arrays or floats.

    Returns
    -------
    strategy of trees
        It shrinks to one leaf.

    Raises
    ------
    InvalidArgument
        Where ``leaves`` is no strategy.
    """
    if not isinstance(leaves, st.SearchStrategy):
        raise InvalidArgument(f"leaves={leaves!r} must be a strategy, such as smooth_arrays((2, 3)).")
    keys = st.sampled_from(["w", "b", "a.b", "a", "[0]", "0", "'w'"])

    def containers(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        several = st.lists(parts, min_size=1, max_size=3)
        return st.dictionaries(keys, parts, min_size=1, max_size=3) | several | several.map(tuple)

    return st.recursive(leaves, containers, max_leaves=6)
