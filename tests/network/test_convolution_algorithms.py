"""Every algorithm of convolution against the loops, and at the shapes that are timed against PyTorch."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from network.layers import conv2d_backward, conv2d_forward
from network.layers._conv2d import dispatch, im2col, one_product, whole_layer, winograd
from network.layers._conv2d.plan import plan_conv2d
from tests.network import naive
from tests.network.properties import assert_broadcasts, assert_close, assert_pure
from tests.network.strategies import conv2d_cases, rngs

PADDED = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}

# As benchmarks/test_conv2d.py times them, with neighbours: (N, C, H, W, O) and what computes them.
SHAPES = {
    (1, 1, 8, 8, 2): None,
    (1, 2, 4, 4, 4): None,
    (1, 3, 7, 5, 4): None,
    (1, 3, 32, 32, 16): None,
    (4, 1, 28, 28, 8): None,
    (5, 1, 28, 28, 8): im2col,
    (64, 1, 8, 8, 2): whole_layer,
    (64, 2, 4, 4, 4): whole_layer,
    (360, 1, 8, 8, 2): whole_layer,
    (50, 3, 7, 6, 5): whole_layer,
    (64, 16, 4, 4, 8): whole_layer,
    (64, 1, 28, 28, 32): im2col,
    (32, 3, 32, 32, 16): im2col,
    (9, 5, 27, 31, 6): im2col,
    (64, 32, 14, 14, 64): im2col,
    (32, 64, 32, 32, 64): winograd,
    (8, 64, 56, 56, 64): winograd,
    (3, 48, 29, 31, 70): winograd,
    (10, 40, 8, 8, 50): im2col,
    (4, 64, 17, 16, 60): winograd,
    (16, 32, 16, 16, 3): im2col,
    (4, 64, 14, 14, 64): im2col,
    (40, 2, 8, 8, 8): im2col,
    (3, 2, 12, 9, 7): None,
}


@contextmanager
def using(algorithm):
    """Patch the dispatcher: this algorithm computes everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "choose", lambda _, **__: algorithm)
        yield patch


def assert_loops(case, rng):
    y, cache = conv2d_forward(case.x, case.w, case.b, **case.geometry)
    # Winograd amplifies rounding some five times.
    assert_close(y / 8, naive.conv2d(case.x, case.w, case.b, **case.geometry) / 8, y.dtype)
    dy = rng.normal(size=y.shape).astype(y.dtype)
    loops = naive.conv2d_gradients(dy, case.x, case.w, **case.geometry)
    for gradient, desired in zip(conv2d_backward(dy, cache), loops, strict=False):
        assert_close(gradient / 8, desired / 8, y.dtype)


@pytest.mark.parametrize("algorithm", [im2col, whole_layer], ids=["im2col", "whole_layer"])
@given(conv2d_cases(least=1), rngs())
def test_every_geometry_is_the_loops(algorithm, case, rng):
    with using(algorithm):
        assert_loops(case, rng)


@given(conv2d_cases(least=1), rngs())
def test_one_product_is_the_loops(case, rng):
    assume(case.geometry["groups"] == 1)
    with using(None):
        assert_loops(case, rng)


@given(conv2d_cases(least=1, is_plain=True), rngs())
def test_winograd_is_the_loops(case, rng):
    with using(winograd):
        assert_loops(case, rng)


@pytest.mark.parametrize("algorithm", [im2col, whole_layer], ids=["im2col", "whole_layer"])
@given(conv2d_cases(leading=True, least=1), rngs())
def test_leading_axes_broadcast(algorithm, case, rng):
    assume(all(operand.size for operand in case.operands))
    cores = (4, 4, 1)[: len(case.operands)]
    with using(algorithm):
        assert_broadcasts(lambda *o: conv2d_forward(*o, **case.geometry), conv2d_backward, case.operands, cores, rng)
        assert_pure(lambda *o: conv2d_forward(*o, **case.geometry), conv2d_backward, case.operands, rng)


@given(rngs(), st.integers(1, 3), st.integers(1, 2))
def test_leading_axes_of_kernels_broadcast_under_winograd(rng, kernels, groups):
    x, w = rng.normal(size=(2, 2 * groups, 5, 6)), rng.normal(size=(kernels, 3 * groups, 2, 3, 3))
    with using(winograd):
        forward = lambda x, w: conv2d_forward(x / 8, w, padding=1, groups=groups)  # noqa: E731
        assert_broadcasts(forward, conv2d_backward, (x, w), (4, 4), rng)


@given(rngs(), st.sampled_from([10_000, 100_000]), st.integers(1, 8))
def test_blocks_of_winograd_do_not_show(rng, block_bytes, tiles):
    x, w, b = rng.normal(size=(3, 5, 9, 13)), rng.normal(size=(4, 5, 3, 3)), rng.normal(size=4)
    dy = rng.normal(size=(3, 4, 9, 13))
    with using(winograd) as patch:
        y, cache = conv2d_forward(x, w, b, padding=1)
        whole = conv2d_backward(dy, cache)
        patch.setattr(winograd, "BLOCK_BYTES", block_bytes)
        patch.setattr(winograd, "TILES", tiles)
        assert_close(conv2d_forward(x, w, b, padding=1)[0], y)
        for of_blocks, gradient in zip(conv2d_backward(dy, cache), whole, strict=True):
            assert_close(of_blocks, gradient)


def operands(shape, dtype, rng):
    n, c, h, w, o = shape
    return [rng.normal(size=size).astype(dtype) for size in ((n, o, h, w), (n, c, h, w), (o, c, 3, 3), (o,))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_at_the_timed_shapes_as_pytorch(shape, rng):
    """To 1e-10 in float64, and to what each algorithm promises in float32."""
    torch = pytest.importorskip("torch")
    dy, x, w, b = operands(shape, np.float64, rng)
    plan = plan_conv2d(x.shape, w.shape, b.shape, (1, 1), (1, 1), (1, 1), 1)
    assert dispatch.choose(plan, winograd=True) is SHAPES[shape]
    tensors = [torch.from_numpy(array) for array in (dy, x, w, b)]
    y = torch.nn.functional.conv2d(*tensors[1:], padding=1)
    options = ([len(b)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True] * 3)
    desired = [y.numpy(), *(g.numpy() for g in torch.ops.aten.convolution_backward(*tensors[:3], *options))]
    for dtype, bound in ((np.float64, 1e-13), (np.float32, 1e-5)):
        y, cache = conv2d_forward(*(operand.astype(dtype) for operand in (x, w, b)), padding=1)
        for actual, expected in zip((y, *conv2d_backward(dy.astype(dtype), cache)), desired, strict=True):
            assert actual.dtype == dtype
            np.testing.assert_allclose(actual, expected, rtol=0, atol=bound * np.abs(expected).max())


NON_FINITE = pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
MIXING = pytest.mark.parametrize("algorithm", [whole_layer, winograd, None], ids=["whole", "winograd", "one_product"])


@NON_FINITE
@MIXING
def test_what_is_not_finite_stays_in_its_windows(algorithm, value, rng):
    """Also where an algorithm multiplies every pixel with weights that do not see it."""
    dy, x, w, b = operands((2, 3, 9, 7, 4), np.float64, rng)
    x[1, 2, 4, 3] = value
    dy[0, 1, 2, 6] = value
    desired = _results(im2col, dy, x, w, b)
    for actual, expected in zip(_results(algorithm, dy, x, w, b), desired, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)
    assert np.isfinite(desired[0][0]).all() and np.isfinite(desired[1][1]).all()


@NON_FINITE
@MIXING
def test_a_weight_that_is_not_finite_meets_only_the_pixels_that_it_sees(algorithm, value, rng):
    dy, x, w, b = operands((2, 6, 5, 7, 2), np.float64, rng)
    w[1, 0, 0, 2] = value
    for actual, expected in zip(_results(algorithm, dy, x, w, b), _results(im2col, dy, x, w, b), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)
    dx = _results(algorithm, dy, x, w, b)[1]
    assert (
        np.isfinite(dx[:, :, :, 0]).all() and np.isfinite(dx[:, :, -1]).all()
    )  # no window sees them through this cell


@NON_FINITE
@pytest.mark.parametrize("channels", [(6, 2), (2, 6), (3, 3)], ids=str)
@pytest.mark.parametrize("which", ["dy", "x", "w"])
def test_what_is_not_finite_is_where_the_formulas_have_it_from_either_end(channels, which, value, rng):
    """There zeros around the images meet kernels and dy, but not dx."""
    dy, x, w, b = operands((2, channels[0], 5, 6, channels[1]), np.float64, rng)
    {"dy": dy, "x": x, "w": w}[which][1, 1, 0, 2] = value
    y, dx, dw, _ = _results(im2col, dy, x, w, b)
    placed, whole = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), PADDED | {"padding": (0, 0)}
    with np.errstate(all="ignore"):
        desired = naive.conv2d(placed, w, b, **whole), naive.conv2d_gradients(dy, placed, w, **whole)[1]
        loops = naive.conv2d_gradients(dy, x, w, **PADDED)[0]
    for actual, expected in zip((y, dw, dx), (*desired, loops), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("geometry", [{"padding": (0, 3)}, {"padding": (3, 6), "dilation": (1, 2)}], ids=str)
def test_kernels_that_reach_over_the_whole_row(geometry, rng):
    """Cells that see no pixel at all of a row, or of an image."""
    x, w = rng.normal(size=(2, 3, 9, 2)), rng.normal(size=(4, 3, 3, 7))
    geometry = PADDED | {"padding": (0, 0)} | geometry
    y, cache = conv2d_forward(x, w, **geometry)
    np.testing.assert_allclose(y, naive.conv2d(x, w, None, **geometry), rtol=0, atol=1e-13)
    dy = rng.normal(size=y.shape)
    for gradient, desired in zip(
        conv2d_backward(dy, cache), naive.conv2d_gradients(dy, x, w, **geometry), strict=False
    ):
        np.testing.assert_allclose(gradient, desired, rtol=0, atol=1e-13)


def _results(algorithm, dy, x, w, b):
    with using(algorithm):
        y, cache = conv2d_forward(x, w, b, padding=1)
        return (y, *conv2d_backward(dy, cache))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8, 2), (64, 2, 4, 4, 4), (2, 64, 16, 16, 64), (4, 3, 20, 20, 8)], ids=str)
def test_dx_is_left_out_unless_needed(shape, rng):
    dy, x, w, b = operands(shape, np.float64, rng)
    for bias in (b, None):
        _, cache = conv2d_forward(x, w, bias, padding=1)
        dx, *others = conv2d_backward(dy, cache, needs_dx=False)
        assert dx is None
        for without, with_dx in zip(others, conv2d_backward(dy, cache)[1:], strict=True):
            np.testing.assert_array_equal(without, with_dx)


def test_winograd_can_be_switched_off(rng):
    """In float32 its error is some five times that of sums of products."""
    dy, x, w, b = operands((4, 64, 32, 32, 64), np.float32, rng)
    dy, x, w, b = (operand.astype(np.float64) for operand in (dy, x, w, b))
    exact = _results(im2col, dy, x, w, b)
    errors = []
    for switch in (True, False):
        y, cache = conv2d_forward(*(operand.astype(np.float32) for operand in (x, w, b)), padding=1, winograd=switch)
        results = (y, *conv2d_backward(dy.astype(np.float32), cache)[:2])
        errors.append([np.abs(a - e).max() / np.abs(e).max() for a, e in zip(results, exact[:3], strict=True)])
    (y, dx, dw), plain = errors
    assert 1e-6 < y < 5e-6 and 1e-6 < dx < 5e-6 and dw < 5e-6
    assert max(plain) < 1.2e-6


@pytest.mark.parametrize("shape", [(32, 64, 32, 32, 64), (8, 64, 56, 56, 64), (64, 1, 28, 28, 32), (8, 3, 224, 224, 8)])
def test_little_memory_beside_the_results(shape, rng):
    dy, x, w, b = operands(shape, np.float32, rng)
    tracemalloc.start()
    y, cache = conv2d_forward(x, w, b, padding=1)
    assert tracemalloc.get_traced_memory()[1] - y.nbytes < 16e6
    tracemalloc.reset_peak()
    results = conv2d_backward(dy, cache)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - y.nbytes - sum(result.nbytes for result in results) < 16e6


def test_tables_are_read_only_or_rebuilt(rng):
    """A table that is kept from call to call is not handed out."""
    _, x, w, b = operands((1, 1, 8, 8, 2), np.float64, rng)
    first, _ = conv2d_forward(x, w, b, padding=1)
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(conv2d_forward(x, w, b, padding=1)[0], kept)
    plan = plan_conv2d(x.shape, w.shape, b.shape, (1, 1), (1, 1), (1, 1), 1)
    assert one_product.forward(plan, x, w, b, x.dtype).base is not one_product._table(plan)
