"""The loss and the labels without caches against the layers', whose forward keeps what backward passes need."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import article
from network.article import values

from .fixtures import NAMES, regime

HIDDEN = (5, 6)


def layered_loss(params, images, labels, *, shared_kernel=False):
    outputs, _ = article.forward(params, images, shared_kernel=shared_kernel)
    leading = np.broadcast_shapes(outputs.shape[:-1], *(array.shape[:-2] for array in params.values()))
    return np.broadcast_to(((outputs - labels) ** 2).sum(axis=-1) / 2, leading)


def with_leading_axes(draw, params):
    """Give some weights leading axes that broadcast."""
    full = draw(st.sampled_from([(3,), (2, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    changed = {}
    for name in draw(st.sets(st.sampled_from(NAMES), max_size=4)):
        axes = tuple(draw(st.sampled_from([1, n])) for n in full[draw(st.integers(0, len(full))) :])
        changed[name] = params[name] + 0.1 * rng.standard_normal((*axes, *params[name].shape))
    return params | changed


@given(st.data())
def test_it_is_the_layers_loss(data):
    params, images, labels, _, _ = regime(data.draw(st.integers(0, 5)), "G", HIDDEN)
    samples, shared = data.draw(st.integers(0, 7)), data.draw(st.booleans())
    params = with_leading_axes(data.draw, params)
    got = article.loss(params, images[:samples], labels[:samples], shared_kernel=shared)
    expected = layered_loss(params, images[:samples], labels[:samples], shared_kernel=shared)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("copies", [1, 2, 3, 40])
@pytest.mark.parametrize("name", NAMES)
def test_copies_that_differ_in_one_element(name, copies):
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    many = np.repeat(params[name][None], copies, axis=0)
    many.reshape(copies, -1)[np.arange(copies), np.arange(copies) // 2 % params[name].size] += 0.3
    moved = params | {name: many}
    expected = layered_loss(moved, images[:9], labels[:9])
    np.testing.assert_allclose(article.loss(moved, images[:9], labels[:9]), expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["W3", "W4"])
@pytest.mark.parametrize("which", ["first", "last", "several", "nan", "infinite", "another weight"])
def test_copies_that_only_nearly_do(name, which):
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    many = np.repeat(params[name][None], 8, axis=0)
    flat = many.reshape(8, -1)
    flat[np.arange(8), np.arange(8)] += 0.3
    if which == "several":
        flat[4, 5:7] -= 0.2
    elif which in ("first", "last"):
        flat[{"first": 0, "last": -1}[which]] += 0.1
    elif which != "another weight":
        flat[3, 2] = {"nan": np.nan, "infinite": np.inf}[which]
    moved = params | {name: many}
    if which == "another weight":
        moved["W5"] = params["W5"] + 0.1 * np.arange(8)[:, None, None]
    got, expected = article.loss(moved, images[:9], labels[:9]), layered_loss(moved, images[:9], labels[:9])
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    assert np.isnan(got[3]) == (which == "nan")


def test_more_samples_and_networks_than_a_block_holds(monkeypatch):
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    rng = np.random.default_rng(0)
    for name in NAMES:
        moved = params | {name: params[name] + 0.1 * rng.standard_normal((11, *params[name].shape))}
        expected = layered_loss(moved, images[:20], labels[:20])
        with monkeypatch.context() as patched:
            patched.setattr(values, "MOST_SAMPLES", 7)
            patched.setattr(values, "BLOCK_BYTES", 2**14)
            got = article.loss(moved, images[:20], labels[:20])
        np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize("shared", [False, True])
def test_the_dtype_is_the_layers(shared):
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    single = {name: array.astype(np.float32) for name, array in params.items()}
    images, labels = images[:4].astype(np.float32), labels[:4].astype(np.float32)
    assert article.loss(single, images, labels, shared_kernel=shared).dtype == np.float32
    mixed = single | {"W2c": params["W2c"]}
    expected = layered_loss(mixed, images, labels, shared_kernel=shared)
    got = article.loss(mixed, images, labels, shared_kernel=shared)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_huge_weights_give_no_warning():
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    huge = {name: 1e300 * array for name, array in params.items()}
    with np.errstate(all="raise"):
        article.loss(huge, images[:3], labels[:3])
        article.predict(huge, images[:3])


def test_nothing_given_is_changed_or_shared():
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    before = {name: array.copy() for name, array in params.items()}
    first, second = (article.loss(params, images[:4], labels[:4]) for _ in range(2))
    assert first == second
    for name, array in params.items():
        np.testing.assert_array_equal(array, before[name])
