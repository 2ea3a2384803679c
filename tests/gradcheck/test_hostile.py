"""Inputs that nobody writes on purpose, and that must not break a check."""

import numpy as np
import pytest

from gradcheck import InvalidArgument, Report, check_gradient, check_layer, check_vjp

X = np.array([0.5, -1.5, 2.0])


def test_text_is_no_tolerance():
    with pytest.raises(InvalidArgument, match="rtol"):
        check_gradient(lambda x: x @ x, lambda x: 2 * x, X, rtol="1e-3")


def test_more_axes_than_a_flat_iterator_has():
    x = np.full((1,) * 40, 2.0)
    assert check_gradient(np.sum, np.ones_like, x)
    assert check_gradient(np.sum, lambda x: 2 * np.ones_like(x), x).verdict == "fail"


@pytest.mark.parametrize("factor", [2, -2, 3])
def test_as_many_axes_as_an_array_can_have(factor):
    x = np.arange(1.0, 7.0).reshape((1,) * 62 + (3, 2))
    verdict = "pass" if factor == 2 else "fail"
    layer = check_layer(lambda x: (x**2, x), lambda dy, x: factor * x * dy, x)
    assert layer.verdict == check_vjp(lambda x: x**2, lambda dy, x: (factor * x * dy,), x).verdict == verdict
    report = check_gradient(lambda x: np.sum(x**2), lambda x: factor * x, x)
    assert report.verdict == verdict and report.parameters["params"].wrong.all() == (factor != 2)
    again = Report.from_json(report.to_json())
    assert np.array_equal(again.parameters["params"].wrong, report.parameters["params"].wrong)
    if factor != 2:
        assert np.array_equal(again.parameters["params"].reference, report.parameters["params"].reference)
        assert "the gradient equals" in str(report)


class Nameless:
    """A callable whose attributes cannot be read."""

    def __init__(self, value):
        object.__setattr__(self, "value", value)

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self, x):
        return self.value(x)


def test_a_function_whose_attributes_raise():
    assert check_gradient(Nameless(lambda x: x @ x), Nameless(lambda x: 2 * x), X)
    assert check_layer(Nameless(lambda x: (2 * x, None)), lambda dy, _: 2 * dy, X)
    assert check_layer(Nameless(lambda x: (2 * x, None)), lambda dy, _: dy, X).verdict == "fail"


@pytest.mark.parametrize("nothing", [None, {}, []])
def test_a_forward_that_returns_nothing(nothing):
    with pytest.raises(InvalidArgument, match="returned nothing"):
        check_layer(lambda x: (nothing, x), lambda dy, x: x, X)
    with pytest.raises(InvalidArgument, match="returned nothing"):
        check_vjp(lambda x: nothing, lambda dy, x: x, X)


def test_a_backward_that_empties_its_cache():
    report = check_layer(lambda x: (x**2, [x]), lambda dy, cache: 2 * cache.pop() * dy, X)
    assert report.verdict == "fail" and report.findings[0].code == "cache-changed"
    with pytest.raises(IndexError):
        check_layer(lambda x: (x**2, []), lambda dy, cache: 2 * cache.pop() * dy, X)


@pytest.mark.parametrize("factor", [1.0, 2.0, 1.01])
def test_an_empty_leaf_beside_others(factor):
    point = {"none": np.zeros((0, 3)), "x": np.array([0.3, 0.7, -1.2]), "z": np.zeros(0)}
    gradient = lambda p: {**p, "x": factor * np.cos(p["x"])}  # noqa: E731
    report = check_gradient(lambda p: p["none"].sum() + np.sin(p["x"]).sum(), gradient, point)
    assert report.verdict == ("pass" if factor == 1 else "fail"), str(report)
