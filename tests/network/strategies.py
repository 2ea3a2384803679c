"""Hypothesis strategies: geometries of convolution and pooling, arrays that fit them, leading axes that broadcast."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = st.sampled_from([np.float32, np.float64])


@dataclass(frozen=True)
class Conv2dCase:
    """The operands of a convolution, and its geometry as pairs."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    geometry: dict[str, object]

    @property
    def operands(self):
        return (self.x, self.w) if self.b is None else (self.x, self.w, self.b)


@dataclass(frozen=True)
class MaxPool2dCase:
    """The images of a pooling, and its geometry as pairs."""

    x: np.ndarray
    geometry: dict[str, tuple[int, int]]


def pairs(least, most):
    """Pairs of ints."""
    return st.tuples(st.integers(least, most), st.integers(least, most))


def rngs():
    """Random generators; the arrays of a case come from one, since Hypothesis is slow at drawing arrays."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def conv2d_cases(draw, *, leading=False, least=0, kernels=((1, 1), (3, 3)), plain_geometry=False):
    """Convolutions, also with no samples, channels or outputs (``least=0``), and of one pixel.

    ``kernels`` are the least and the most rows and columns; a plain geometry has neither stride nor dilation, and no
    more padding than kernels reach over the edge.
    """
    groups = draw(st.integers(1, 3))
    samples = draw(st.integers(least, 3))
    channels, outputs = draw(st.integers(least, 2)), draw(st.integers(least, 2))
    (least_rows, least_columns), (most_rows, most_columns) = kernels
    kernel = draw(st.tuples(st.integers(least_rows, most_rows), st.integers(least_columns, most_columns)))
    if plain_geometry:
        stride, dilation = (1, 1), (1, 1)
        padding = tuple(draw(st.integers(0, cells - 1)) for cells in kernel)
    else:
        stride, padding, dilation = draw(pairs(1, 3)), draw(pairs(0, 3)), draw(pairs(1, 2))
    image = tuple(
        draw(st.integers(max(0 if p else 1, d * (k - 1) + 1 - 2 * p), 6))
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    axes = draw(leading_axes(3)) if leading else ((), (), ())
    rng, dtype = draw(rngs()), draw(DTYPES)
    x = rng.normal(size=(*axes[0], samples, groups * channels, *image)).astype(dtype)
    w = rng.normal(size=(*axes[1], groups * outputs, channels, *kernel)).astype(dtype)
    b = rng.normal(size=(*axes[2], groups * outputs)).astype(dtype) if draw(st.booleans()) else None
    return Conv2dCase(x, w, b, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


@st.composite
def max_pool2d_cases(draw, *, values="ties"):
    """Poolings: ``values`` are "ties" (few small integers and -inf), or "nan" (the same with NaN among them)."""
    kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    image = tuple(draw(st.integers(max(1, k - 2 * p), 7)) for k, p in zip(kernel, padding, strict=True))
    leading = draw(st.lists(st.integers(0, 2), max_size=3))
    rng, dtype = draw(rngs()), draw(DTYPES)
    x = rng.choice([-np.inf, -1, 0, 0, 1, 2, np.nan if values == "nan" else 2], size=(*leading, *image)).astype(dtype)
    return MaxPool2dCase(x, {"kernel_size": kernel, "stride": stride, "padding": padding})


@st.composite
def leading_axes(draw, count):
    """Leading axes of so many operands, which broadcast; some are empty, absent or of size 1."""
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=count, min_dims=0, max_dims=3, min_side=0, max_side=3)
    return draw(shapes).input_shapes
