import numpy as np
import pytest
from hypothesis import given

from network.layers import max_pool2d_backward, max_pool2d_forward
from network.layers import pooling as pooling_module
from network.layers._pool2d import stages
from tests.network import naive
from tests.network.properties import assert_close, assert_pure, assert_shapes_and_dtypes
from tests.network.strategies import max_pool2d_cases, rngs


def forward_of(geometry):
    options = dict(geometry)
    kernel_size = options.pop("kernel_size")
    return lambda x: max_pool2d_forward(x, kernel_size, **options)


@given(max_pool2d_cases(values="ties") | max_pool2d_cases(values="nan"), rngs())
def test_forward_and_backward_are_the_loops_over_windows(case, rng):
    """Exactly: ties, windows of nothing but -inf, NaN, padding and overlap included."""
    y, cache = forward_of(case.geometry)(case.x)
    if y.size:
        np.testing.assert_array_equal(y, naive.max_pool2d(case.x, **case.geometry))
    dy = rng.integers(-8, 8, size=y.shape).astype(y.dtype)
    dx = max_pool2d_backward(dy, cache)
    assert_shapes_and_dtypes(y, (dx,), (case.x,))
    np.testing.assert_array_equal(dx, naive.max_pool2d_gradient(dy, case.x, **case.geometry))


@given(max_pool2d_cases(), rngs())
def test_pure(case, rng):
    assert_pure(forward_of(case.geometry), max_pool2d_backward, (case.x,), rng)


@given(max_pool2d_cases(values="nan"), rngs())
def test_blocks_do_not_show(case, rng):
    y, cache = forward_of(case.geometry)(case.x)
    dy = rng.normal(size=y.shape).astype(y.dtype)
    dx = max_pool2d_backward(dy, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling_module, "LITTLE", 0)
        patch.setattr(stages, "BLOCK_BYTES", 1)
        np.testing.assert_array_equal(max_pool2d_backward(dy, cache), dx)
        y_of_blocks, cache = forward_of(case.geometry)(case.x)
        np.testing.assert_array_equal(y_of_blocks, y)
        np.testing.assert_array_equal(max_pool2d_backward(dy, cache), dx)


@given(max_pool2d_cases(values="ties") | max_pool2d_cases(values="nan"), rngs())
def test_many_pixels_are_pooled_as_few(case, rng):
    """However much work there is, the loops over windows say what is right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling_module, "LITTLE", 0)
        y, cache = forward_of(case.geometry)(case.x)
        dy = rng.integers(-8, 8, size=y.shape).astype(y.dtype)
        dx = max_pool2d_backward(dy, cache)
    if y.size:
        np.testing.assert_array_equal(y, naive.max_pool2d(case.x, **case.geometry))
    np.testing.assert_array_equal(dx, naive.max_pool2d_gradient(dy, case.x, **case.geometry))


def test_a_leading_axis_is_pooled_entry_by_entry(rng):
    x = rng.normal(size=(3, 2, 2, 5, 4))
    y, cache = max_pool2d_forward(x, (2, 3), stride=1, padding=1)
    dx = max_pool2d_backward(np.ones_like(y), cache)
    for index in range(3):
        one, cache_of_one = max_pool2d_forward(x[index], (2, 3), stride=1, padding=1)
        np.testing.assert_array_equal(y[index], one)
        np.testing.assert_array_equal(dx[index], max_pool2d_backward(np.ones_like(one), cache_of_one))


def test_padding_by_hand(rng):
    """Cells of -inf around the image are what padding= adds, where the image has none of its own."""
    x = rng.normal(size=(2, 3, 5, 4))
    by_hand = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)), constant_values=-np.inf)
    y, _ = max_pool2d_forward(x, (2, 4), stride=(1, 2), padding=(1, 2))
    np.testing.assert_array_equal(y, max_pool2d_forward(by_hand, (2, 4), stride=(1, 2))[0])


def test_windows_of_one_cell_are_the_image(rng):
    x = rng.normal(size=(2, 3, 5, 4))
    y, cache = max_pool2d_forward(x, 1)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(max_pool2d_backward(y, cache), x)


def test_stride_is_the_kernel_unless_given(rng):
    x = rng.normal(size=(1, 1, 7, 7))
    default, given_ = max_pool2d_forward(x, (2, 3))[0], max_pool2d_forward(x, (2, 3), stride=(2, 3))[0]
    np.testing.assert_array_equal(default, given_)


def test_the_first_maximum_in_row_major_order_wins():
    """Not the first column: the upper right cell comes before the lower left one."""
    x = np.array([[[[0.0, 1.0], [1.0, 1.0]]]])
    y, cache = max_pool2d_forward(x, 2)
    np.testing.assert_array_equal(max_pool2d_backward(np.full_like(y, 3.0), cache), [[[[0, 3], [0, 0]]]])


def test_the_last_nan_of_a_window_wins():
    """As in PyTorch, also over an infinity, and whatever the other windows hold."""
    x = np.array([[[[np.nan, np.inf, 1.0, 2.0], [np.nan, 0.0, 3.0, 3.0]]]])
    y, cache = max_pool2d_forward(x, 2)
    np.testing.assert_array_equal(y, [[[[np.nan, 3.0]]]])
    np.testing.assert_array_equal(max_pool2d_backward(np.ones_like(y), cache), [[[[0, 0, 0, 0], [1, 0, 1, 0]]]])


def test_a_window_of_minus_infinity_gives_to_its_first_real_cell():
    x = np.full((1, 1, 2, 2), -np.inf)
    y, cache = max_pool2d_forward(x, 2, stride=1, padding=1)
    assert np.isneginf(y).all()
    np.testing.assert_array_equal(max_pool2d_backward(np.ones_like(y), cache), [[[[4, 2], [2, 1]]]])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e308])
def test_an_infinite_dy_reaches_the_winner_only(value):
    x = np.array([[[[0.0, 1.0], [2.0, 1.0]]]])
    y, cache = max_pool2d_forward(x, 2)
    np.testing.assert_array_equal(max_pool2d_backward(np.full_like(y, value), cache), [[[[0, 0], [value, 0]]]])


def test_huge_values_and_mixed_dtypes():
    """The gradient has the dtype of x, whatever dy has."""
    x = np.full((1, 1, 4, 4), 3e38, np.float32)
    y, cache = max_pool2d_forward(x, 3, stride=1)
    assert y.dtype == max_pool2d_backward(np.full(y.shape, 1e38), cache).dtype == np.float32


def test_large_images_take_several_blocks(rng):
    x = rng.integers(0, 4, size=(40, 5, 30, 31)).astype(float)
    y, cache = max_pool2d_forward(x, 2)
    windows = x[:, :, :, :30].reshape(40, 5, 15, 2, 15, 2).transpose(0, 1, 2, 4, 3, 5).reshape(40, 5, 15, 15, 4)
    np.testing.assert_array_equal(y, windows.max(-1))
    dy = rng.normal(size=y.shape)
    of_windows = np.eye(4)[windows.argmax(-1)] * dy[..., np.newaxis]
    dx = of_windows.reshape(40, 5, 15, 15, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(40, 5, 30, 30)
    np.testing.assert_array_equal(max_pool2d_backward(dy, cache), np.pad(dx, ((0, 0), (0, 0), (0, 0), (0, 1))))


X = np.ones((2, 3, 5, 4))

ERRORS = [
    ({"kernel_size": (2, 2, 1)}, r"kernel_size=\(2, 2, 1\) has 3 entries, but max_pool2d slides along 2 axes \(H, W\)"),
    ({"kernel_size": 0}, r"kernel_size=0 .*from 1 on"),
    ({"kernel_size": 2.0}, r"kernel_size=2\.0 .*whole number"),
    ({"kernel_size": None}, r"kernel_size=None .*whole number"),
    ({"kernel_size": True}, r"kernel_size=True .*whole number"),
    ({"kernel_size": 5}, r"kernel_size has 5 along W, but x has 4 pixels there"),
    ({"kernel_size": (6, 1)}, r"kernel_size has 6 along H, but x has 5 pixels there"),
    ({"stride": 0}, r"stride=0 .*from 1 on"),
    ({"stride": (1, 2, 3)}, r"stride=\(1, 2, 3\) has 3 entries"),
    ({"padding": -1}, r"padding=-1 .*from 0 on"),
    ({"padding": 2}, r"padding=\(2, 2\) is more than half of kernel_size=\(2, 2\)"),
    ({"padding": (0, 2), "kernel_size": 3}, r"padding=\(0, 2\) is more than half of kernel_size=\(3, 3\)"),
    ({"x": X[0, 0, 0]}, r"x has shape \(4,\), but max_pool2d takes images"),
    ({"x": X[:, :, :0]}, r"kernel_size has 2 along H, but x has 0 pixels there"),
    ({"x": X[:, :, :, :0], "padding": 1}, r"along W, but x has 2 pixels there \(W=0, padding=1\)"),
    ({"x": X.astype(int)}, r"x has dtype int64, but max_pool2d computes in float32 or float64"),
    ({"x": X.astype(bool)}, r"x has dtype bool"),
    ({"x": X.astype(complex)}, r"x has dtype complex128"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_bad_arguments_get_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        max_pool2d_forward(**{"x": X, "kernel_size": 2, **arguments})


@pytest.mark.parametrize(
    ("dy", "message"),
    [
        (np.ones((2, 3, 2, 1)), r"dy has shape \(2, 3, 2, 1\), but y of max_pool2d has shape \(2, 3, 2, 2\)"),
        (np.ones((2, 3, 2, 2), int), r"dy has dtype int64"),
    ],
)
def test_dy_has_exactly_the_shape_of_y(dy, message):
    _, cache = max_pool2d_forward(X, 2)
    with pytest.raises(ValueError, match=message):
        max_pool2d_backward(dy, cache)


def test_gradients_add_up_to_dy(rng):
    """Nothing is lost and nothing doubled, however windows overlap."""
    x = rng.integers(0, 3, size=(2, 2, 9, 8)).astype(float)
    y, cache = max_pool2d_forward(x, (3, 2), stride=(2, 1), padding=1)
    dy = rng.normal(size=y.shape)
    assert_close(max_pool2d_backward(dy, cache).sum((-1, -2)), dy.sum((-1, -2)))


@pytest.mark.parametrize(
    "shape", [(1, 1, 8, 8), (64, 2, 4, 4), (3, 5, 9, 7), (64, 1, 28, 28), (64, 32, 14, 14), (8, 64, 57, 55)], ids=str
)
@pytest.mark.parametrize("kernel", [2, (3, 2), 3], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_the_timed_shapes_as_pytorch(shape, kernel, dtype, rng):
    """Bit by bit, on images full of ties."""
    torch = pytest.importorskip("torch")
    x = np.maximum(rng.integers(-2, 3, size=shape), 0).astype(dtype)
    y, cache = max_pool2d_forward(x, kernel)
    desired, index = torch.nn.functional.max_pool2d(torch.from_numpy(x), kernel, return_indices=True)
    np.testing.assert_array_equal(y, desired.numpy())
    dy = rng.normal(size=y.shape).astype(dtype)
    pair = [kernel] * 2 if isinstance(kernel, int) else list(kernel)
    backward = torch.ops.aten.max_pool2d_with_indices_backward
    dx = backward(torch.from_numpy(dy), torch.from_numpy(x), pair, pair, [0, 0], [1, 1], False, index)
    np.testing.assert_array_equal(max_pool2d_backward(dy, cache), dx.numpy())


def test_neither_way_raises_or_warns_whatever_the_error_state(rng):
    """Of NaN, infinities and huge numbers, in few pixels and in many."""
    for shape in ((2, 1, 4, 4), (40, 3, 20, 20)):
        x = rng.choice([np.nan, np.inf, -np.inf, 1e308, 5e-324, 0.0], size=shape)
        with np.errstate(all="raise"):
            y, cache = max_pool2d_forward(x, 2)
            max_pool2d_backward(y, cache)
            finite, cache = max_pool2d_forward(np.nan_to_num(x, posinf=1e308), 2)
            max_pool2d_backward(finite, cache)
