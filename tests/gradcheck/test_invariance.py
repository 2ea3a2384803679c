"""What must not change a verdict: units, order, shape, company, and how parameters are parted into leaves."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck import check_gradient

W = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1], [0.7, 0.4, 0.6], [-0.8, 0.1, 0.5]])


def value(x):
    """Of twelve elements that all interact."""
    return np.sum(np.tanh(W.ravel() * x) * np.cos(np.roll(x, 1))) + 0.1 * np.sum(x**3)


def slope(x):
    z = W.ravel() * x
    turned = np.roll(x, 1)
    return W.ravel() / np.cosh(z) ** 2 * np.cos(turned) - np.roll(np.tanh(z) * np.sin(turned), -1) + 0.3 * x**2


BUGS = {
    "right": lambda g: g,
    "one sign": lambda g: np.where(np.arange(12) == 4, -g, g),
    "all by 1e-4": lambda g: g * (1 + 1e-4),
    "dropped": lambda g: np.where(np.arange(12) < 2, 0.0, g),
    "swapped": lambda g: g[np.r_[1, 0, 2:12]],
}

points = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=12))
bugs = st.sampled_from(sorted(BUGS))
few = settings(max_examples=8, derandomize=True, deadline=None)


def wrong(report):
    return np.concatenate([parameter.wrong.ravel() for parameter in report.parameters.values()])


def verdict_at(x, bug):
    return check_gradient(value, lambda x: BUGS[bug](slope(x)), x)


@few
@given(points, bugs, st.integers(-300, 300))
def test_units_of_f(x, bug, power):
    scale = 2.0**power
    plain = verdict_at(x, bug)
    scaled = check_gradient(lambda x: scale * value(x), lambda x: scale * BUGS[bug](slope(x)), x)
    assert scaled.verdict == plain.verdict
    np.testing.assert_array_equal(wrong(scaled), wrong(plain))


@few
@given(points, bugs, st.permutations(range(12)))
def test_order_of_the_elements(x, bug, order):
    order = np.array(order)
    back = np.argsort(order)
    plain = verdict_at(x, bug)
    moved = check_gradient(lambda z: value(z[back]), lambda z: BUGS[bug](slope(z[back]))[order], x[order])
    assert moved.verdict == plain.verdict
    np.testing.assert_array_equal(wrong(moved)[back], wrong(plain))


@few
@given(points, bugs, st.sampled_from([(3, 4), (12, 1), (1, 12, 1), (2, 1, 6)]))
def test_shape(x, bug, shape):
    plain = verdict_at(x, bug)
    shaped = check_gradient(
        lambda z: value(z.ravel()), lambda z: BUGS[bug](slope(z.ravel())).reshape(shape), x.reshape(shape)
    )
    assert shaped.verdict == plain.verdict
    assert shaped.parameters["params"].wrong.shape == shape
    np.testing.assert_array_equal(wrong(shaped), wrong(plain))


class Parts(NamedTuple):
    first: np.ndarray
    second: np.ndarray


CONTAINERS = {
    "dict": (lambda a, b: {"a": a, "b": b}, lambda p: (p["a"], p["b"])),
    "dict, other order": (lambda a, b: {"b": b, "a": a}, lambda p: (p["a"], p["b"])),
    "list": (lambda a, b: [a, b], tuple),
    "nested": (lambda a, b: {"x": [a, {"y": b}]}, lambda p: (p["x"][0], p["x"][1]["y"])),
    "namedtuple": (Parts, tuple),
}


@settings(few, max_examples=16)
@given(kind=st.sampled_from(sorted(CONTAINERS)), x=points, bug=bugs, cut=st.integers(1, 11))
def test_how_parameters_are_parted_into_leaves(kind, x, bug, cut):
    build, parts = CONTAINERS[kind]
    plain = verdict_at(x, bug)
    parted = check_gradient(
        lambda p: value(np.concatenate(parts(p))),
        lambda p: build(*np.split(BUGS[bug](slope(np.concatenate(parts(p)))), [cut])),
        build(*np.split(x, [cut])),
    )
    assert parted.verdict == plain.verdict
    leaves = [parameter.wrong for parameter in parted.parameters.values()]
    first_is_a = kind != "dict, other order"
    np.testing.assert_array_equal(np.concatenate(leaves if first_is_a else leaves[::-1]), wrong(plain))


@few
@given(points, bugs, st.floats(-6, 6))
def test_company_of_an_unrelated_leaf(x, bug, decades):
    unrelated = 10.0**decades * np.array([1.0, -2.0])
    plain = verdict_at(x, bug)
    joined = check_gradient(
        lambda p: value(p["x"]) + np.sum(np.sin(p["u"] / unrelated)),
        lambda p: {"x": BUGS[bug](slope(p["x"])), "u": np.cos(p["u"] / unrelated) / unrelated},
        {"x": x, "u": unrelated},
    )
    assert joined.verdict == plain.verdict
    assert not joined.parameters["u"].wrong.any()
    np.testing.assert_array_equal(joined.parameters["x"].wrong, wrong(plain))


@pytest.mark.parametrize("limit", [1, 2, 5, 13, 20, 37, 60, 100, 200])
def test_what_max_evaluations_left_out_is_never_passed(limit):
    calls = []
    x = np.random.default_rng(0).normal(size=12)
    report = check_gradient(lambda x: calls.append(1) or value(x), slope, x, max_evaluations=limit)
    assert len(calls) == report.evaluations <= limit
    if report.ok:
        assert not np.isnan(report.parameters["params"].reference).any()
    else:
        assert report.verdict == "inconclusive"
        assert report.parameters["params"].undecided.any()


def test_progress_changes_nothing():
    x = np.random.default_rng(1).normal(size=12)
    seen = []
    plain, watched = verdict_at(x, "one sign"), None
    watched = check_gradient(
        value, lambda x: BUGS["one sign"](slope(x)), x, progress=lambda done, total: seen.append((done, total))
    )
    assert seen
    assert seen[-1][0] == seen[-1][1]
    one, other = plain.to_dict(), watched.to_dict()
    one.pop("seconds"), other.pop("seconds")
    assert str(one) == str(other)
