"""Step functions and places where a function is flat: said to be so, and never taken for noise."""

import numpy as np
import pytest

from gradcheck import check_gradient, check_layer

CODES = {"undecided-noise", "undecided-step", "undecided-unseen"}


def told(report):
    """The message of a step function, which is alone and comes first."""
    assert report.verdict == "inconclusive", str(report)
    assert report.findings[0].code == "step-function", str(report)
    assert not CODES & {finding.code for finding in report.findings}
    return report.findings[0].message


def quantised(grid):
    return lambda x: (grid * np.round(x / grid), None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grid", [0.25, 0.04])
@pytest.mark.parametrize("factor", [0, 1, -2])
def test_a_rounded_layer_is_a_step_function(seed, grid, factor):
    x = np.random.default_rng(seed).normal(size=(3, 4))
    assert "rounding" in told(check_layer(quantised(grid), lambda dy, _: factor * dy, x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: float(np.sum(np.clip(x, -1, 1))),
        lambda x: float(np.sum(np.sign(x))),
        lambda x: float(np.sum(np.floor(x))),
    ],
)
def test_a_flat_place_is_said_to_be_one(function):
    assert "flat" in told(check_gradient(function, lambda x: np.zeros_like(x), np.array([1.3, 1.7, 2.6])))


def in_single_precision(x):
    return float(np.sum(np.sin(np.float32(x)), dtype=np.float32) + np.float32(300))


def with_noise(x):
    return float(np.sum(np.sin(x))) + 1e-3 * (hash(x.tobytes()) % 1000) / 1000


@pytest.mark.parametrize("function", [in_single_precision, with_noise])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_noise_is_no_step_function(function, scale):
    x = scale * np.random.default_rng(0).normal(size=5)
    report = check_gradient(function, lambda x: 1.02 * np.cos(x), x)
    assert "step-function" not in {finding.code for finding in report.findings}, str(report)


@pytest.mark.parametrize("seed", range(3))
def test_a_straight_through_claim_of_one_of_two_is_told(seed):
    """Fail or inconclusive, as far as its stairs are seen; either way the first line says what it is."""
    rng = np.random.default_rng(seed)
    point = {"steps": 0.3 * (rng.integers(-5, 6, size=9) + rng.uniform(-0.3, 0.3, size=9)), "w": rng.normal(size=9)}

    def rounded(v):
        return 0.3 * np.round(v / 0.3)

    def grad(p):
        return {"steps": np.sin(p["w"]), "w": rounded(p["steps"]) * np.cos(p["w"])}

    report = check_gradient(lambda p: float(np.sum(rounded(p["steps"]) * np.sin(p["w"]))), grad, point)
    assert not report.ok and "freeze what is rounded" in str(report).splitlines()[0], str(report)


@pytest.mark.parametrize("seed", range(3))
def test_a_parameter_of_half_precision_makes_no_step_function(seed):
    """It is the parameter that stands still at short moves."""
    x = np.random.default_rng(seed).normal(size=5).astype(np.float16)
    report = check_gradient(lambda x: np.sum(x.astype(np.float32) ** 2), lambda x: np.float16(2.6) * x, x)
    assert "step-function" not in {finding.code for finding in report.findings}, str(report)


@pytest.mark.parametrize(
    "quantised", [np.floor, lambda b: np.round(b, 1), lambda b: 1.0 * (b > 1)], ids=["floor", "round", "step"]
)
def test_no_claim_for_a_quantised_element_passes_beside_smooth_ones(quantised):
    """What may hide in it is more than they are; zero is its slope."""
    rng = np.random.default_rng(4)
    x = np.append(rng.uniform(0.5, 1.5, 3), 1.234)

    def f(x):
        return float(np.sum(np.sin(x[:3])) + quantised(x[3]))

    for claim in (1.0, -1.0, 5.0):
        assert not check_gradient(f, lambda x, c=claim: np.append(np.cos(x[:3]), c), x).ok
    assert check_gradient(f, lambda x: np.append(np.cos(x[:3]), 0.0), x).verdict != "fail"


@pytest.mark.parametrize("factor", [1.0001, 1.01, -1.0])
def test_stairs_of_another_element_explain_no_error(factor):
    rng = np.random.default_rng(5)
    x = rng.uniform(0.5, 1.5, 5)

    def f(x):
        return float(np.sum(np.sin(x[:4])) + np.round(np.sin(x[4]), 4))

    def gradient(x, factor=1.0):
        return np.append(np.cos(x[:4]) * [1, factor, 1, 1], np.cos(x[4]))

    assert check_gradient(f, gradient, x).verdict != "fail"
    report = check_gradient(f, lambda x: gradient(x, factor), x)
    assert report.verdict == "fail" and list(np.flatnonzero(report.parameters["params"].wrong)) == [1], str(report)


@pytest.mark.parametrize(("small", "large"), [(1.3e-3, 8.0), (2.8e-3, 10.2), (4.6e-3, 30.0)])
def test_what_rounding_hides_beside_something_large_is_no_step_function(small, large):
    report = check_gradient(
        lambda p: float(p["small"] ** 4 + p["large"] ** 4),
        {"small": np.array(0.094), "large": 4 * np.array(large) ** 3},
        {"small": np.array(small), "large": np.array(large)},
    )
    assert report.verdict == "fail" and "step function" not in str(report)


def test_what_only_moves_with_others_is_not_said_to_change_further_away():
    x, w = 1e-7 * np.random.default_rng(0).normal(size=(4, 3)), np.zeros((3, 5))
    report = check_layer(
        lambda x, w: (x @ w, (x, w)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy), x, w, method="directional"
    )
    assert report.verdict != "fail"
    assert all("alone" in finding.message for finding in report.findings if finding.code == "step-function")


def test_tiny_elements_of_what_rounding_keeps_constant_are_not_wrong():
    """They are moved as far as zeros are, and so are the changes that the claim says."""
    x = np.array([3e-6, -2e-6])
    report = check_gradient(lambda x: 0.3 * round((3000 + 0.01 * (x @ x)) / 0.3), lambda x: 0.02 * x, x)
    assert report.verdict == "inconclusive"
    assert check_gradient(lambda x: 100 + 0.01 * (x @ x), lambda x: 0.02 * x, x)
    assert check_gradient(lambda x: 100 + 0.01 * (x @ x), lambda x: -0.02 * x, x).verdict != "pass"


@pytest.mark.parametrize("height", [0.3, 0.7, 1.1, 2.0, 3.0])
@pytest.mark.parametrize("place", [0.2, 0.35, 0.6, 0.9])
def test_one_jump_farther_away_than_the_steps_excuses_no_wrong_claim(place, height):
    """Past it differences agree with any claim somewhere: what it adds to them falls with the way."""
    x = np.array([1.0, 1.4, -0.8])

    def f(x):
        return float(np.sum(np.sin(x)) + 1.5 * x[0] + height * (x[0] > 1 + place))

    def slope(x):
        return np.cos(x) + np.array([1.5, 0.0, 0.0])

    assert check_gradient(f, slope, x).ok
    report = check_gradient(f, slope(x) * np.array([2.0, 1.0, 1.0]), x)
    assert report.parameters["params"].wrong.tolist() == [True, False, False], str(report)
