"""Hypothesis strategies: arrays for the public geometries of convolution and pooling, leading axes that broadcast."""

from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradcheck.strategies import conv_geometries, pool_geometries

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


def rngs():
    """Random generators; the arrays of a case come from one, since Hypothesis is slow at drawing arrays."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def conv2d_cases(draw, *, leading=False, least=0, is_plain=False):
    """Convolutions of valid geometries; with ``least=0`` also with no samples, channels, outputs or pixels.

    A plain one has three columns in its kernels, neither stride nor dilation, and no more padding than kernels reach over
    the edge.
    """
    x, w, stride, padding, dilation, groups = draw(conv_geometries())
    if is_plain:
        assume(w[-1] == 3)
        stride, dilation = (1, 1), (1, 1)
        padding = tuple(min(p, k - 1) for p, k in zip(padding, w[2:], strict=True))
    if least == 0:
        x, w = draw(emptied(x, w, padding, dilation))
    axes = draw(leading_axes(3)) if leading else ((), (), ())
    rng, dtype = draw(rngs()), draw(DTYPES)
    x, w, b = (rng.normal(size=(*front, *core)).astype(dtype) for front, core in zip(axes, (x, w, w[:1]), strict=True))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Conv2dCase(x, w, b if draw(st.booleans()) else None, geometry)


@st.composite
def emptied(draw, x, w, padding, dilation):
    """The shapes of a convolution with some axes of no length, where it stays defined."""
    samples, channels, outputs = (draw(st.sampled_from([1, 1, 0])) for _ in range(3))
    image = [
        n if 2 * p < d * (k - 1) + 1 else draw(st.sampled_from([n, n, 0]))  # padding alone may hold a kernel
        for n, k, p, d in zip(x[2:], w[2:], padding, dilation, strict=True)
    ]
    return (samples * x[0], channels * x[1], *image), (outputs * w[0], channels * w[1], *w[2:])


@st.composite
def max_pool2d_cases(draw, *, values="ties"):
    """Poolings: ``values`` are "ties" (few small integers and -inf), or "nan" (the same with NaN among them)."""
    shape, kernel, stride, padding = draw(pool_geometries(max_side=7))
    leading = draw(st.lists(st.integers(0, 2), max_size=3))
    rng, dtype = draw(rngs()), draw(DTYPES)
    x = rng.choice([-np.inf, -1, 0, 0, 1, 2, np.nan if values == "nan" else 2], size=(*leading, *shape[2:])).astype(
        dtype
    )
    return MaxPool2dCase(x, {"kernel_size": kernel, "stride": stride, "padding": padding})


@st.composite
def leading_axes(draw, count):
    """Leading axes of so many operands, which broadcast; some are empty, absent or of size 1."""
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=count, min_dims=0, max_dims=3, min_side=0, max_side=3)
    return draw(shapes).input_shapes
