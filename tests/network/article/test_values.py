"""The loss and the labels without caches against the layers', whose forward keeps what backward passes need."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import article
from network.article import values

from .fixtures import NAMES, regime

HIDDEN = (5, 6)
SAMPLES = 9


def layered_loss(params, images, labels, *, shared_kernel=False):
    outputs, _ = article.forward(params, images, shared_kernel=shared_kernel)
    with np.errstate(all="ignore"):
        value = ((outputs - labels) ** 2).sum(axis=-1) / 2
    return np.broadcast_to(value, np.broadcast_shapes(value.shape, *(w.shape[:-2] for w in params.values())))


def network(samples=SAMPLES):
    params, images, labels, _, _ = regime(2, "G", HIDDEN)
    return params, images[:samples], labels[:samples]


def copies_of(params, name, count):
    """Copies that differ in one element each, two of them in the same."""
    many = np.repeat(params[name][None], count, axis=0)
    many.reshape(count, params[name].size)[np.arange(count), np.arange(count) // 2 % params[name].size] += 0.3
    return many


def moved_elements(params, name):
    """What the copies of a weight are found to have in common."""
    weights = [params[weight] for weight in ("W3", "W4", "W5")]
    return values._moved_element(np.ones((SAMPLES, 16)), *weights)


@given(st.data())
def test_loss_and_labels_are_the_layers(data):
    params, images, labels = network(data.draw(st.integers(0, 7)))
    full = data.draw(st.sampled_from([(3,), (2, 3)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))

    def axes():
        return tuple(data.draw(st.sampled_from([1, n])) for n in full[data.draw(st.integers(0, len(full))) :])

    for name in data.draw(st.sets(st.sampled_from(NAMES), max_size=4)):
        params[name] = params[name] + 0.1 * rng.standard_normal((*axes(), *params[name].shape))
    images = np.broadcast_to(images, (*axes(), *images.shape))
    labels = np.broadcast_to(labels, (*axes(), *labels.shape))
    shared = data.draw(st.booleans())
    got = article.loss(params, images, labels, shared_kernel=shared)
    expected = layered_loss(params, images, labels, shared_kernel=shared)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)
    outputs, _ = article.forward(params, images, shared_kernel=shared)
    np.testing.assert_array_equal(article.predict(params, images, shared_kernel=shared), outputs > 0.5)


def test_an_output_of_a_half_is_a_zero():
    params, images, _ = network()
    assert not article.predict(params | {"W5": np.zeros((HIDDEN[1], 1))}, images).any()


@pytest.mark.parametrize("block", [values.BLOCK_BYTES, 1])
@pytest.mark.parametrize("count", [0, 1, 2, 6, 40])
@pytest.mark.parametrize("name", NAMES)
def test_copies_that_differ_in_one_element(name, count, block, monkeypatch):
    """Of W3 and W4 only what that element moves is computed, all at once or one after the other."""
    monkeypatch.setattr(values, "BLOCK_BYTES", block)
    params, images, labels = network()
    moved = params | {name: copies_of(params, name, count)}
    got, expected = article.loss(moved, images, labels), layered_loss(moved, images, labels)
    assert got.shape == (count,)
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    assert (moved_elements(moved, name) is not None) == (name in {"W3", "W4"} and count >= 6)


@pytest.mark.parametrize("name", ["W3", "W4"])
@pytest.mark.parametrize("which", [0, 4, 7])
def test_copies_of_which_one_differs_more(name, which):
    params, images, labels = network()
    many = copies_of(params, name, 8)
    many.reshape(8, -1)[which] += 0.1
    moved = params | {name: many}
    assert moved_elements(moved, name) is None
    np.testing.assert_allclose(article.loss(moved, images, labels), layered_loss(moved, images, labels), rtol=1e-13)


@pytest.mark.parametrize("common", [1e8, 1e20, 1e300, np.inf, np.nan])
@pytest.mark.parametrize("name", ["W3", "W4"])
def test_a_huge_element_in_common_takes_no_digits_from_the_copies_own(name, common):
    params, images, labels = network()
    many = copies_of(params, name, 8)
    flat = many.reshape(8, -1)
    flat[:, 5] = common
    flat[np.arange(5), np.arange(5)] = params[name].flat[:5]
    flat[4, 5] = 1.0  # the only element in which this one differs
    moved = params | {name: many}
    np.testing.assert_allclose(article.loss(moved, images, labels), layered_loss(moved, images, labels), rtol=1e-13)


@pytest.mark.parametrize("huge", [1.5e308, -np.inf, np.nan])
@pytest.mark.parametrize(("copied", "other"), [("W3", "W4"), ("W3", "W5"), ("W4", "W5"), ("W4", "W1a"), ("W3", "W2c")])
def test_huge_weights_elsewhere(copied, other, huge):
    params, images, labels = network()
    params[other][1, 0] = huge
    moved = params | {copied: copies_of(params, copied, 8)}
    np.testing.assert_allclose(article.loss(moved, images, labels), layered_loss(moved, images, labels), rtol=1e-12)


@pytest.mark.parametrize("hidden", [(0, 0), (0, 3), (3, 0)])
def test_no_units(hidden):
    params, images, labels = network()
    empty = {"W3": np.zeros((16, hidden[0])), "W4": np.zeros(hidden), "W5": np.zeros((hidden[1], 1))}
    for many in (params | empty, params | empty | {"W4": np.zeros((5, *hidden))}):
        np.testing.assert_array_equal(article.loss(many, images, labels), layered_loss(many, images, labels))


@pytest.mark.parametrize("axes", [(11,), (1, 11), (3, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_networks_and_samples_are_run_in_blocks(name, axes, monkeypatch):
    params, images, labels = network(20)
    other = "W5" if name != "W5" else "W4"
    rng = np.random.default_rng(0)
    params[other] = params[other][None]
    params[name] = params[name] + 0.1 * rng.standard_normal((*axes, *params[name].shape))
    expected = layered_loss(params, images, labels)
    sizes = []

    def watched(compute, is_all):
        def call(*operands):
            weights = operands[2:] if is_all else operands[1:]
            samples = operands[1] if is_all else len(operands[0])
            sizes.append((np.prod(np.broadcast_shapes(*(w.shape[:-2] for w in weights))), samples))
            return compute(*operands)

        return call

    is_kernel = name not in {"W3", "W4", "W5"}
    computes = "_all_layers" if is_kernel else "_each_layer"
    monkeypatch.setattr(values, computes, watched(getattr(values, computes), is_kernel))
    monkeypatch.setattr(values, "MOST_SAMPLES", 7)
    width = HIDDEN[1] + (values.WIDTHS[name.startswith("W2")] if is_kernel else 0)
    monkeypatch.setattr(values, "BLOCK_BYTES", 8 * 3 * 7 * width)
    np.testing.assert_allclose(article.loss(params, images, labels), expected, rtol=1e-13)
    assert max(samples for _, samples in sizes) == 7
    assert max(count for count, _ in sizes) <= 3 and len(sizes) >= np.prod(axes)


@pytest.mark.parametrize("shared", [False, True])
def test_the_dtype_is_the_layers(shared):
    params, images, labels = network()
    single = {name: array.astype(np.float32) for name, array in params.items()}
    images, labels = images.astype(np.float32), labels.astype(np.float32)
    for weights in (single, single | {"W4": copies_of(single, "W4", 8)}, single | {"W2c": params["W2c"]}):
        expected = layered_loss(weights, images, labels, shared_kernel=shared)
        got = article.loss(weights, images, labels, shared_kernel=shared)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_huge_weights_give_no_warning():
    params, images, labels = network()
    huge = {name: 1e300 * array for name, array in params.items()}
    for weights in (huge, huge | {"W4": copies_of(huge, "W4", 8)}):
        with warnings.catch_warnings(), np.errstate(all="raise"):
            warnings.simplefilter("error")
            got = article.loss(weights, images, labels)
            article.predict(weights, images)
        np.testing.assert_array_equal(got, layered_loss(weights, images, labels))


def test_arguments_are_read_and_the_result_is_its_owners():
    params, images, labels = network()
    params |= {"W2a": np.repeat(params["W2a"][None], 4, axis=0), "W4": copies_of(params, "W4", 4)}
    for array in (*params.values(), images, labels):
        array.setflags(write=False)
    for shared in (False, True):
        got = article.loss(params | {"W4": params["W4"][0]}, images, labels, shared_kernel=shared)
        got += 1
        assert len(np.unique(got)) == 1
        article.loss(params, images, labels, shared_kernel=shared)
