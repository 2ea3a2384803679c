"""How far tiny elements are moved, and that gradients are judged where all of a leaf is tiny."""

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer
from gradcheck.differences.lengths import exceeds_own_size, lengths_of, own_sizes
from gradcheck.differences.scale import widened
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe


def lengths_for(f, x, rtol=3e-7):
    point = point_of(x, "x")
    value = f(x)
    output = Output.of(value, "f")
    probe = Probe(f, point, output, np.ones((1, 1)), Budget())
    base = probe.read(value)
    noise = np.maximum(probe.rounding(), np.spacing(np.abs(base)) / 2)
    found = widened(probe, 0, lengths_of(x), base, noise, rtol, np.random.default_rng(0))
    return found, probe.budget.used


def test_a_leaf_of_usual_size_keeps_its_lengths_and_costs_nothing():
    x = np.array([0.5, -1.0, 2.0])
    found, calls = lengths_for(lambda x: float(np.sum(np.sin(x)) + 1), x)
    np.testing.assert_array_equal(found, lengths_of(x))
    assert calls == 0


@pytest.mark.parametrize("scale", [1e-9, 1e-12, 1e-20, 1e-300])
def test_a_smooth_function_is_seen_at_steps_that_noise_allows(scale):
    x = scale * np.array([1.0, -2.0, 0.5])
    found, _ = lengths_for(lambda x: float(np.sum(np.sin(x)) + 1), x)
    assert np.all(found > 1e-8) and np.all(found <= 1)


def test_a_function_that_changes_over_the_size_of_the_element_keeps_it_short():
    unit = 1e-12
    x = unit * np.array([1.0, -2.0, 0.5])
    found, _ = lengths_for(lambda x: float(np.sum(np.exp(-((x / unit) ** 2)))), x)
    assert np.all(found < 10 * unit)  # noise is no matter there: 1e-16 of a change of one
    found, _ = lengths_for(lambda x: float(np.sum(np.sin(x / unit)) * 1e-12 + 1), x)
    assert np.all(found < 100 * unit)  # and here it is, but a wave of that length has to be resolved


def test_the_edge_of_the_domain_ends_it():
    x = np.full(3, 1e-12)
    found, _ = lengths_for(lambda x: 1e6 + float(np.sum(np.log(x))) if np.all(x > 0) else np.nan, x)
    assert np.all(0.03 * found < 1e-12)


def test_what_a_function_does_over_the_scale_of_one_is_not_passed_over():
    x = np.array([1e-6, 0.3, 1e10])
    found, _ = lengths_for(lambda x: float(x @ x / 2 + np.sum(np.arctan(x))), x)
    assert np.all(found <= np.maximum(lengths_of(x), 1))


def test_beyond_speaks_of_elements_whose_own_size_is_known():
    lengths = np.array([1.0, 1e-2, 1.0, 1.0])
    beyond = exceeds_own_size(own_sizes(np.array([1.0, -1e-6, 0.0, 1e-9]), lengths), np.full(4, 1e-3))
    np.testing.assert_array_equal(beyond, [False, True, False, False])


@pytest.mark.parametrize(
    ("dtype", "tiny"), [(np.float32, 1e-10), (np.float32, 1e-6), (np.float64, 1e-16), (np.float64, 1e-12)]
)
def test_a_tiny_element_beside_ordinary_ones(dtype, tiny):
    x = np.array([tiny, 1, -2, 0.5], dtype)

    def f(x):
        return np.sum(np.sin(x) + x * x)

    def gradient(x):
        return np.cos(x) + 2 * x

    assert check_gradient(f, gradient, x).ok
    for factor in (-1, 2, 0):
        report = check_gradient(f, lambda x, factor=factor: gradient(x) * np.array([factor, 1, 1, 1], dtype), x)
        assert report.verdict == "fail" and report.parameters["params"].wrong.tolist() == [True, False, False, False]


@pytest.mark.parametrize("value", [1e-308, 1e-100, 1e-15, 1e-6, 0.0])
def test_a_softmax_of_equal_tiny_logits(value):
    def forward(x):
        e = np.exp(x - x.max())
        return e / e.sum(), e / e.sum()

    def backward(d, y):
        return y * (d - d @ y)

    x = np.full(2, value)
    assert check_layer(forward, backward, x).ok
    assert check_layer(forward, lambda d, y: y * d, x).verdict == "fail"
    assert check_layer(forward, lambda d, y: -backward(d, y), x).verdict == "fail"


@pytest.mark.parametrize("rate", [1e-2, 1e-4, 1e-6])
def test_one_small_step_from_zero_biases_hides_no_bug_in_float32(rate):
    rng = np.random.default_rng(3)
    x, target = rng.normal(size=(32, 10)).astype(np.float32), rng.normal(size=(32, 4)).astype(np.float32)
    params = {"W": (rng.normal(size=(10, 16)) / 3).astype(np.float32), "b": np.zeros(16, np.float32)}
    head = (rng.normal(size=(16, 4)) / 4).astype(np.float32)

    def f(p):
        return np.mean((np.tanh(x @ p["W"] + p["b"]) @ head - target) ** 2)

    def gradient(p):
        h = np.tanh(x @ p["W"] + p["b"])
        d = (2 * (h @ head - target) / target.size) @ head.T * (1 - h * h)
        return {"W": x.T @ d, "b": d.sum(0)}

    first = gradient(params)
    params = {name: value - np.float32(rate) * first[name] for name, value in params.items()}
    assert check_gradient(f, gradient, params).ok
    for factor in (-1, 2, 0):
        report = check_gradient(
            f, lambda p, factor=factor: {**gradient(p), "b": np.float32(factor) * gradient(p)["b"]}, params
        )
        assert report.verdict == "fail" and report.parameters["b"].wrong.any(), str(report)


@pytest.mark.parametrize("tiny", [1e-12, 1e-35, 1e-100, 5e-324])
def test_an_element_of_no_size_beside_others_is_measured_well_enough_to_be_decided(tiny):
    """It is widened until the step with which it is screened sees the tolerance, and not only the longest one."""

    def f(x):
        return np.sin(x[0]) + 2 * np.sin(x[1])

    x = np.array([1.0, tiny])
    right = np.array([np.cos(1.0), 2.0])
    assert check_gradient(f, lambda x: right, x).verdict == "pass"
    assert check_gradient(f, lambda x: right * [1, 1 + 1e-5], x).verdict == "fail"
