import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.layers import conv2d_backward, conv2d_forward, dense_forward
from network.layers._conv2d import blocks
from tests.network import naive
from tests.network.properties import (
    assert_adjoint,
    assert_broadcasts,
    assert_close,
    assert_pure,
    assert_shapes_and_dtypes,
)
from tests.network.strategies import conv2d_cases, rngs


@given(conv2d_cases(), rngs())
def test_forward_and_backward_are_the_loops_over_the_formulas(case, rng):
    y, cache = conv2d_forward(case.x, case.w, case.b, **case.geometry)
    assert_close(y, naive.conv2d(case.x, case.w, case.b, **case.geometry), y.dtype)
    dy = rng.normal(size=y.shape).astype(y.dtype)
    gradients = conv2d_backward(dy, cache)
    assert_shapes_and_dtypes(y, gradients, case.operands)
    for gradient, loops in zip(gradients, naive.conv2d_gradients(dy, case.x, case.w, **case.geometry), strict=False):
        assert_close(gradient, loops, y.dtype)


@given(conv2d_cases(), rngs(), st.sampled_from([0, 1]))
def test_backward_is_the_adjoint_of_forward(case, rng, which):
    assert_adjoint(lambda *o: conv2d_forward(*o, **case.geometry), conv2d_backward, case.operands, which, rng)


@given(conv2d_cases(leading=True), rngs())
def test_leading_axes_broadcast(case, rng):
    cores = (4, 4, 1)[: len(case.operands)]
    assert_broadcasts(lambda *o: conv2d_forward(*o, **case.geometry), conv2d_backward, case.operands, cores, rng)


@given(conv2d_cases(leading=True), rngs())
def test_pure(case, rng):
    assert_pure(lambda *o: conv2d_forward(*o, **case.geometry), conv2d_backward, case.operands, rng)


@given(conv2d_cases(leading=True, least=1), rngs(), st.sampled_from([1, 2000]))
def test_blocks_do_not_show(case, rng, block_bytes):
    """The result of many small blocks (of rows, samples, leading axes) is that of one."""
    y, cache = conv2d_forward(case.x, case.w, case.b, **case.geometry)
    dy = rng.normal(size=y.shape).astype(y.dtype)
    gradients = conv2d_backward(dy, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        patch.setattr(blocks, "MIN_COLUMNS", 1)
        y_of_blocks, cache = conv2d_forward(case.x, case.w, case.b, **case.geometry)
        gradients_of_blocks = conv2d_backward(dy, cache)
    assert_close(y_of_blocks, y, y.dtype)
    for of_blocks, gradient in zip(gradients_of_blocks, gradients, strict=True):
        assert_close(of_blocks, gradient, y.dtype)


def test_large_images_take_several_blocks(rng):
    """At the shapes where blocks are real: against the loops' sums, made with one tensor product."""
    x, w, b = rng.normal(size=(5, 4, 40, 50)), rng.normal(size=(6, 4, 3, 5)), rng.normal(size=6)
    y, cache = conv2d_forward(x, w, b, padding=(1, 2))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2))), (3, 5), (2, 3))
    assert_close(y, np.einsum("ncijuv,ocuv->noij", windows, w) + b[:, None, None])
    dy = rng.normal(size=y.shape)
    dx, dw, db = conv2d_backward(dy, cache)
    assert_close(dw, np.einsum("ncijuv,noij->ocuv", windows, dy))
    assert_close(db, dy.sum((0, 2, 3)))
    assert_close(np.vdot(dx, x), np.vdot(dy, y - b[:, None, None]))


def test_one_by_one_kernels_are_a_dense_layer(rng):
    x, w, b = rng.normal(size=(3, 4, 5, 6)), rng.normal(size=(2, 4, 1, 1)), rng.normal(size=2)
    y, _ = conv2d_forward(x, w, b)
    flat, _ = dense_forward(x.transpose(0, 2, 3, 1).reshape(-1, 4), w.reshape(2, 4).T, b)
    assert_close(y, flat.reshape(3, 5, 6, 2).transpose(0, 3, 1, 2))


def test_kernels_as_large_as_images_are_a_dense_layer(rng):
    x, w = rng.normal(size=(3, 4, 5, 6)), rng.normal(size=(2, 4, 5, 6))
    y, _ = conv2d_forward(x, w)
    assert_close(y[:, :, 0, 0], dense_forward(x.reshape(3, -1), w.reshape(2, -1).T)[0])


def test_padding_by_hand(rng):
    x, w = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 3, 3, 2))
    by_hand, _ = conv2d_forward(np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1))), w, stride=(1, 2))
    assert_close(conv2d_forward(x, w, padding=(2, 1), stride=(1, 2))[0], by_hand)


def test_dilation_by_hand(rng):
    x, w = rng.normal(size=(2, 3, 9, 8)), rng.normal(size=(2, 3, 3, 2))
    spread = np.zeros((2, 3, 5, 4))
    spread[:, :, ::2, ::3] = w
    assert_close(conv2d_forward(x, w, dilation=(2, 3))[0], conv2d_forward(x, spread)[0])


def test_stride_leaves_out_windows(rng):
    x, w = rng.normal(size=(2, 3, 9, 8)), rng.normal(size=(2, 3, 3, 2))
    assert_close(conv2d_forward(x, w, stride=(3, 2))[0], conv2d_forward(x, w)[0][:, :, ::3, ::2])


def test_groups_are_convolutions_side_by_side(rng):
    x, w = rng.normal(size=(2, 6, 5, 4)), rng.normal(size=(4, 3, 3, 3))
    halves = [conv2d_forward(x[:, 3 * g : 3 * g + 3], w[2 * g : 2 * g + 2], padding=1)[0] for g in (0, 1)]
    assert_close(conv2d_forward(x, w, padding=1, groups=2)[0], np.concatenate(halves, axis=1))


def test_mixed_dtypes(rng):
    """Y has the common dtype, and each gradient that of its operand."""
    x, w, b = rng.normal(size=(1, 1, 4, 4)).astype(np.float32), rng.normal(size=(2, 1, 3, 3)), np.ones(2, np.float32)
    y, cache = conv2d_forward(x, w, b)
    assert_shapes_and_dtypes(y, conv2d_backward(np.ones_like(y), cache), (x, w, b))


def test_other_layouts_and_byte_orders_do_not_matter(rng):
    x, w = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 3, 3, 2))
    y, _ = conv2d_forward(x, w)
    others = (
        np.asfortranarray(x),
        x[::-1, :, ::-1][::-1, :, ::-1],
        np.repeat(x, 2, axis=-1)[..., ::2],
        x.astype(">f8"),
    )
    for other in others:
        assert_close(conv2d_forward(other, np.asfortranarray(w))[0], y)


def test_a_read_only_operand_is_enough(rng):
    x, w = rng.normal(size=(1, 1, 4, 4)), rng.normal(size=(1, 1, 3, 3))
    x.flags.writeable = w.flags.writeable = False
    y, cache = conv2d_forward(x, w)
    assert all(gradient.flags.writeable for gradient in conv2d_backward(y, cache))


def test_huge_values_give_infinity_and_no_warning():
    x = np.full((1, 1, 4, 4), 1e308)
    y, cache = conv2d_forward(x, x, np.array([1e308]))
    assert np.isposinf(y).all()
    conv2d_backward(y, cache)


def test_error_state_is_left_alone():
    with np.errstate(all="raise"):
        before = np.geterr()
        conv2d_forward(np.full((1, 1, 2, 2), 1e308), np.full((1, 1, 2, 2), 1e308))
        assert np.geterr() == before


X, W = np.ones((2, 4, 5, 5)), np.ones((6, 4, 3, 3))

ERRORS = [
    (
        {"stride": (2, 2, 1)},
        r"stride=\(2, 2, 1\) has 3 entries, but conv2d slides along 2 axes \(H, W\); pass an int or a pair\.",
    ),
    ({"stride": 0}, r"stride=0 .*from 1 on"),
    ({"stride": (1, -1)}, r"stride=-1 .*from 1 on"),
    ({"stride": 1.5}, r"stride=1\.5 .*whole number"),
    ({"stride": True}, r"stride=True .*whole number"),
    ({"stride": "2"}, r"stride='2' .*whole number"),
    ({"stride": None}, r"stride=None .*whole number"),
    ({"padding": -1}, r"padding=-1 .*from 0 on"),
    ({"padding": (0.0, 1)}, r"padding=0\.0 .*whole number"),
    ({"dilation": 0}, r"dilation=0 .*from 1 on"),
    ({"dilation": ()}, r"dilation=\(\) has 0 entries"),
    ({"dilation": 3}, r"kernel that covers 7 pixels along H \(KH=3, dilation=3\), but x has 5 there"),
    ({"groups": 0}, r"groups=0 .*from 1 on"),
    ({"groups": (1, 1)}, r"groups=\(1, 1\) .*whole number"),
    ({"groups": 3}, r"groups=3 does not divide the 4 channels \(C\) of x"),
    ({"groups": 4, "w": W[:, :1]}, r"groups=4 does not divide the 6 channels \(O\) of w"),
    ({"groups": 2}, r"w has 4 input channels .*C/groups = 2"),
    ({"w": W[:, :3]}, r"w has 3 input channels .*C/groups = 4"),
    ({"w": np.ones((1, 4, 6, 1))}, r"kernel that covers 6 pixels along H .*but x has 5 there"),
    ({"w": np.ones((1, 4, 1, 6))}, r"kernel that covers 6 pixels along W .*but x has 5 there"),
    ({"w": np.ones((1, 4, 0, 1))}, r"KH and KW must be at least 1"),
    ({"w": W[0]}, r"w has shape \(4, 3, 3\), but conv2d takes kernels"),
    ({"x": X[0]}, r"x has shape \(4, 5, 5\), but conv2d takes images"),
    ({"x": X[:, :, :0]}, r"kernel that covers 3 pixels along H .*but x has 0 there"),
    ({"x": X.astype(int)}, r"x has dtype int64, but conv2d computes in float32 or float64"),
    ({"x": X.astype(bool)}, r"x has dtype bool"),
    ({"x": X.astype(complex)}, r"x has dtype complex128"),
    ({"x": X.astype(object)}, r"x has dtype object"),
    ({"x": X.astype(np.float16)}, r"x has dtype float16"),
    ({"w": W.astype(int)}, r"w has dtype int64"),
    ({"b": np.ones(6, int)}, r"b has dtype int64"),
    ({"b": np.ones(5)}, r"b has shape \(5,\), but w has 6 output channels"),
    ({"b": np.ones(())}, r"b has shape \(\), but w has 6 output channels"),
    ({"b": np.ones((6, 1, 1))}, r"b has shape \(6, 1, 1\), but w has 6 output channels"),
    (
        {"x": np.ones((2, *X.shape)), "w": np.ones((3, *W.shape))},
        r"leading axes of x \(2,\), w \(3,\) do not broadcast",
    ),
    (
        {"x": np.ones((2, *X.shape)), "b": np.ones((3, 6))},
        r"leading axes of x \(2,\), w \(\), b \(3,\) do not broadcast",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_bad_arguments_get_one_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv2d_forward(**{"x": X, "w": W, **arguments})


@pytest.mark.parametrize(
    ("dy", "message"),
    [
        (np.ones((2, 6, 3, 1)), r"dy has shape \(2, 6, 3, 1\), but y of conv2d has shape \(2, 6, 3, 3\)"),
        (np.ones((1, 2, 6, 3, 3)), r"dy has shape \(1, 2, 6, 3, 3\)"),
        (1.0, r"dy has shape \(\)"),
        (np.ones((2, 6, 3, 3), int), r"dy has dtype int64"),
    ],
)
def test_dy_has_exactly_the_shape_of_y(dy, message):
    _, cache = conv2d_forward(X, W)
    with pytest.raises(ValueError, match=message):
        conv2d_backward(dy, cache)


def test_numpy_integers_are_taken(rng):
    x, w = rng.normal(size=(1, 2, 5, 5)), rng.normal(size=(2, 1, 3, 3))
    numbers = {"stride": np.int64(2), "padding": (np.int32(1), np.uint8(0)), "groups": np.int64(2)}
    assert_close(conv2d_forward(x, w, **numbers)[0], conv2d_forward(x, w, stride=2, padding=(1, 0), groups=2)[0])
