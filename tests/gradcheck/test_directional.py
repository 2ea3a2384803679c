"""Random directions: what they clear, what they locate, and what they must not call wrong."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.networks import mlp
from gradcheck import (
    InvalidArgument,
    check_gradient,
    check_hvp,
    check_jvp,
    check_layer,
    check_vjp,
    numerical_gradient,
)
from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.directions import LONGEST_STEP, SHORTEST_STEP, Directions
from gradcheck.acceptance.judgement import Claim
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe
from tests.seeds import seeds

SIZES = (120, 90, 20, 1)
X = np.random.default_rng(0).normal(size=2000)


def planted(grad, change):
    """A gradient function with a fault: ``change`` works on the right gradient in place."""

    def wrong(params):
        gradient = grad(params)
        change(gradient)
        return gradient

    return wrong


def wrong_elements(report):
    return {
        name: {tuple(map(int, i)) for i in np.argwhere(p.wrong)}
        for name, p in report.parameters.items()
        if p.wrong.any()
    }


def directions_of(params, key=0):
    """Directions through the leaves of some parameters, of a function that is zero."""
    point = point_of(params, "params")
    probe = Probe(lambda tree: 0.0, point, Output.of(0.0, "f"), np.ones((1, 1)), Budget())
    claims = {i: Claim(np.zeros((point.leaves[i].value.size, 1)), np.zeros(1), 2.2e-16) for i in point.free()}
    bench = Bench(probe, np.zeros(1), claims, 1e-6, np.random.default_rng(0))
    bench.noise = np.full(1, 1e-16)
    return Directions(bench, key), [leaf.name for leaf in point.leaves]


# ---- directions -----------------------------------------------------------------------------------------------------


def test_a_direction_depends_on_the_name_of_the_leaf_alone():
    w, b = X[:30].reshape(5, 6), X[30:40]
    one, names = directions_of({"w": w, "b": b})
    other, others = directions_of({"extra": X[:7], "b": b, "w": w})
    mine, theirs = one.moves(one.draw_leaves()), other.moves(other.draw_leaves())
    for name in names:
        np.testing.assert_array_equal(mine[names.index(name)], theirs[others.index(name)])
    assert not np.array_equal(mine[0], directions_of({"w": w, "b": b}, key=1)[0].moves(one.draw_leaves())[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_component_is_small_and_every_short_step_is_exact(dtype):
    x = np.concatenate([X, np.zeros(3)]).astype(dtype)
    directions, _ = directions_of(x)
    for step in (SHORTEST_STEP, LONGEST_STEP):
        directions.step = step
        (move,) = directions.moves(directions.draw_leaves()).values()
        unit = np.abs(move) / directions.lengths(0, slice(None), step)
        assert unit.min() > 0.4
        assert unit.max() < 1.45
        for moved in (move, -move, move / 2, -move / 2):
            apart = (x + moved).astype(dtype).astype(np.float64) - x - moved
            # Only a step that leads past a power of two may be rounded: there are none among the short ones.
            assert np.all(np.abs(apart) <= (np.spacing(np.abs(x)) if step == LONGEST_STEP else 0))
            assert np.mean(apart != 0) < 0.01


def test_halves_of_a_direction_move_their_elements_as_the_whole_does():
    directions, _ = directions_of({"w": np.random.default_rng(0).normal(size=(300, 300)), "b": X[:7]})
    parts = [directions.draw_leaves()]
    while len(parts) < 40:
        parts = [half for part in parts for half in (part.halves() if part.size > 1 else (part,))]
    whole = directions.moves(replace(parts[0], spans=directions.draw_leaves().spans))
    for leaf in directions.leaves:
        pieces = [directions.moves(part)[leaf] for part in parts if leaf in part.leaves]
        np.testing.assert_array_equal(np.sum(pieces, axis=0), whole[leaf])


# ---- right gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "max"])
def test_a_right_gradient_passes_in_a_few_dozen_evaluations(activation):
    f, grad, params = mlp(SIZES, activation, 0)
    calls = []
    report = check_gradient(lambda p: calls.append(1) or f(p), grad, params)
    assert report.ok, str(report)
    assert report.evaluations == len(calls) <= 60
    for parameter in report.parameters.values():
        assert np.isnan(parameter.reference).all()
        assert not parameter.undecided.any()
        assert np.isfinite([parameter.relative_error, parameter.angle, parameter.max_abs_error]).all()
        assert 0 < parameter.detection_floor < 1e-5
    assert "random directions" in report.blind_spots[0]
    assert "more than 10,000" in report.blind_spots[0]
    assert "would show" in str(report)


@pytest.mark.parametrize("seed", seeds(8, quick=2))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ["relu", "max", "leaky", "abs"])
def test_networks_with_kinks_are_never_called_wrong(activation, dtype, seed):
    f, grad, params = mlp((60, 40, 10, 1), activation, seed, rows=1 + seed, dtype=dtype)
    report = check_gradient(f, grad, params, method="directional", rng=seed)
    assert report.verdict != "fail", str(report)
    assert report.ok or dtype is np.float32, str(report)


@pytest.mark.parametrize("claim", [[1, 0, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5]])
def test_a_valid_subgradient_at_a_tie_passes(claim):
    x = np.concatenate([np.ones(3), X])
    report = check_gradient(
        lambda x: np.median(x[:3]) + np.sin(x[3:]).sum(),
        lambda x: np.concatenate([claim, np.cos(x[3:])]),
        x,
        method="directional",
    )
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("at_zero", "verdict"), [(0.0, "pass"), (0.5, "pass"), (1.0, "pass"), (1.5, "fail"), (-1.0, "fail")]
)
def test_kinks_at_elements_that_are_exactly_zero(at_zero, verdict):
    x = np.concatenate([X, np.zeros(5)])
    report = check_gradient(
        lambda x: np.maximum(x, 0).sum(), lambda x: np.where(x == 0, at_zero, x > 0), x, method="directional"
    )
    assert report.verdict == verdict, str(report)
    assert not report.parameters["params"].wrong[:-5].any()


@pytest.mark.parametrize("claim", [[0, 0, 0], [1, 1, 0], [1, 1, 1]])
def test_an_invalid_one_does_not(claim):
    x = np.concatenate([np.ones(3), X])
    report = check_gradient(
        lambda x: np.median(x[:3]) + np.sin(x[3:]).sum(),
        lambda x: np.concatenate([claim, np.cos(x[3:])]),
        x,
        method="directional",
    )
    assert not report.ok
    assert not report.parameters["params"].wrong[3:].any()


@pytest.mark.parametrize("share", [1 / 4, 1 / 2, 1.0])
def test_tied_zeros_are_not_cleared_by_their_own_differences(share):
    # Each of four that tie for the largest changes it by half of what it moves, up and down: no claim for all of them.
    x = np.array([0.0, 0, 2, 1, 1, -1, 2, -2, -1, 2, 0, -2, 2, 1, -2, 2, 0])
    report = check_gradient(np.median, np.where(x == 0, share, 0.0), x, method="directional")
    assert report.verdict == ("pass" if share == 1 / 4 else "fail"), str(report)


TIED = {
    "max": (lambda x: 2 * np.max(x[:2]) + x[2], [1, 1, 0.5], [2, 0, 1]),
    "sort": (lambda x: np.sort(x) @ [1.0, 2, 3], [-1, -1, 2], [1, 2, 3]),
    "abs": (lambda x: np.abs(x[0] - x[1]) + x @ x / 2, [0.3, 0.3, -0.5], [1.3, -0.7, -0.5]),
    "relu": (lambda x: np.maximum(x[0] + x[1] - 1, 0) + x @ x, [0.25, 0.75, 2], [1.5, 2.5, 4]),
}


@pytest.mark.parametrize("factor", [1.0, 1.01, -1.0])
@pytest.mark.parametrize("name", TIED)
def test_kinks_that_blur_directions_hide_no_wrong_factor(name, factor):
    f, x, gradient = TIED[name]
    report = check_gradient(f, factor * np.array(gradient), np.array(x, float), method="directional")
    assert report.verdict == ("pass" if factor == 1 else "fail"), str(report)


def test_many_errors_that_rtol_allows_are_allowed_together():
    f, grad, params = mlp(SIZES, "tanh", 1)
    rng = np.random.default_rng(0)
    noise = {name: 1e-7 * rng.normal(size=value.shape) for name, value in params.items()}
    report = check_gradient(f, lambda p: {name: g * (1 + noise[name]) for name, g in grad(p).items()}, params)
    assert report.ok, str(report)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_huge_and_tiny_functions(scale):
    def grad(x):
        return scale * (1 - np.tanh(x) ** 2)

    assert check_gradient(lambda x: scale * np.tanh(x).sum(), grad, X, method="directional").ok
    wrong = planted(grad, lambda g: np.multiply(g[3:4], 2, out=g[3:4]))
    found = wrong_elements(check_gradient(lambda x: scale * np.tanh(x).sum(), wrong, X, method="directional"))
    assert found == {"params": {(3,)}}


@pytest.mark.parametrize("zeros", [3, 100, 5000])
def test_a_leaf_of_zeros_is_looked_at_if_noise_hides_it_along_directions(zeros):
    """At one seed in eight what noise hides is a little more than what does not matter beside the other leaf."""
    passed = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, w = {"a": rng.normal(size=300), "z": rng.normal(size=zeros)}, rng.normal(size=300)

        def f(p, wrong=0.0, w=w):
            value = float(w @ np.tanh(p["a"]) + wrong * np.sum(np.sin(p["z"])))
            return value + 1e-7 * (hash(value) % 1000 / 1000 - 0.5)

        def grad(p, w=w):
            return {"a": w * (1 - np.tanh(p["a"]) ** 2), "z": np.zeros(zeros)}

        passed += check_gradient(f, grad, x, rng=seed, method="directional").ok
        wrong = check_gradient(lambda p, f=f: f(p, 1e-3), grad, x, rng=seed, method="directional")
        assert wrong.verdict == "fail", str(wrong)
    assert passed >= 7


# ---- wrong gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("factor", [-1, 2, 0])
def test_wrong_elements_are_located_exactly(activation, factor):
    f, grad, params = mlp(SIZES, activation, 2)
    right = grad(params)
    places = {
        "w0": tuple(map(int, np.unravel_index(np.argsort(np.abs(right["w0"]).ravel())[-500], right["w0"].shape))),
        "w1": tuple(map(int, np.unravel_index(np.argsort(np.abs(right["w1"]).ravel())[-50], right["w1"].shape))),
        "b0": (int(np.argmax(np.abs(right["b0"]))),),
    }

    def change(gradient):
        for name, place in places.items():
            gradient[name][place] *= factor

    report = check_gradient(f, planted(grad, change), params)
    assert report.verdict == "fail"
    assert report.evaluations <= 400
    assert wrong_elements(report) == {name: {place} for name, place in places.items()}
    assert not any(parameter.undecided.any() for parameter in report.parameters.values())
    for name, place in places.items():
        parameter = report.parameters[name]
        assert parameter.reference[place] == pytest.approx(right[name][place], rel=1e-6)
        assert 0 < parameter.relative_error < 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", seeds(6, quick=2))
def test_what_the_floor_promises_is_kept(seed, dtype):
    f, grad, params = mlp((60, 50, 10, 1), "tanh", seed, dtype=dtype)
    parameter = check_gradient(f, grad, params, method="directional", rng=seed).parameters["w0"]
    usual = np.argwhere(np.abs(parameter.claimed) <= np.sqrt(np.mean(parameter.claimed**2)))
    place = tuple(np.random.default_rng(seed).choice(usual))

    def change(gradient):
        gradient["w0"][place] += parameter.detection_floor

    report = check_gradient(f, planted(grad, change), params, method="directional", rng=seed)
    assert wrong_elements(report) == {"w0": {place}}


def test_round_off_of_other_claims_does_not_hide_the_largest_leaf():
    rng = np.random.default_rng(1)
    slopes = {
        "large": rng.normal(size=5000).astype(np.float32),
        "steep": (1e4 * rng.normal(size=20)).astype(np.float32),
    }
    params = {name: rng.normal(size=slope.shape).astype(np.float32) for name, slope in slopes.items()}

    def gradient(p):
        return {name: slopes[name] * np.cos(p[name]) for name in slopes}

    def f(p):
        return sum(float(np.sum(slopes[name].astype(float) * np.sin(p[name].astype(float)))) for name in slopes)

    report = check_gradient(f, gradient, params, method="directional")
    assert report.ok and report.parameters["large"].detection_floor < 0.01


def test_equal_and_opposite_errors_do_not_hide_each_other():
    f, grad, params = mlp(SIZES, "relu", 3)

    def change(gradient):
        gradient["w0"][3, 3] += 1e-3
        gradient["w0"][100, 70] -= 1e-3

    assert wrong_elements(check_gradient(f, planted(grad, change), params)) == {"w0": {(3, 3), (100, 70)}}


@pytest.mark.parametrize("where", [(slice(20, 21), slice(0, 60)), (slice(0, 90), slice(33, 34))], ids=["row", "column"])
def test_a_slice_is_found_whole(where):
    f, grad, params = mlp(SIZES, "tanh", 4)
    report = check_gradient(f, planted(grad, lambda g: np.negative(g["w0"][where], out=g["w0"][where])), params)
    expected = np.zeros_like(params["w0"], dtype=bool)
    expected[where] = True
    np.testing.assert_array_equal(report.parameters["w0"].wrong, expected)
    diagnoses = report.parameters["w0"].diagnoses
    assert all(f"{part.start} to {part.stop - 1}" in diagnoses[0].message for part in where)


def test_a_large_slice_is_found_whole_and_not_taken_for_the_leaf():
    f, grad, params = mlp((40, 700, 10, 1), "tanh", 4)
    report = check_gradient(f, planted(grad, lambda g: np.negative(g["w0"][7], out=g["w0"][7])), params)
    parameter = report.parameters["w0"]
    assert wrong_elements(report) == {"w0": {(7, i) for i in range(700)}}
    assert not parameter.undecided.any()
    assert "slice 7 along axis 0" in parameter.diagnoses[0].message


def test_a_multiple_of_the_gradient_is_explained_and_every_element_named():
    f, grad, params = mlp(SIZES, "relu", 5)
    report = check_gradient(f, planted(grad, lambda g: np.multiply(g["w0"], 1.01, out=g["w0"])), params)
    assert report.verdict == "fail"
    assert set(wrong_elements(report)) == {"w0"}
    parameter = report.parameters["w0"]
    np.testing.assert_array_equal(parameter.wrong, grad(params)["w0"] != 0)
    assert not parameter.undecided.any()
    np.testing.assert_allclose(parameter.reference, grad(params)["w0"], rtol=1e-6)
    assert parameter.diagnoses[0].kind == "constant-ratio"
    assert parameter.diagnoses[0].evidence["ratio"] == pytest.approx(1.01)
    assert np.isfinite(parameter.relative_error)
    assert report.evaluations <= 100
    others = [other for name, other in report.parameters.items() if name != "w0"]
    assert not any(other.wrong.any() or other.undecided.any() for other in others)


def test_what_the_fault_spoils_is_left_undecided_and_not_searched():
    f, grad, params = mlp((120, 90, 60, 30, 1), "tanh", 6)
    spoil = {name: np.random.default_rng(0).uniform(0.5, 1.5, params[name].shape) for name in ("w0", "w1", "b1")}

    def change(gradient):
        gradient["w2"] *= 0.5
        for name, factors in spoil.items():
            gradient[name] *= factors

    report = check_gradient(f, planted(grad, change), params)
    assert report.verdict == "fail" and set(wrong_elements(report)) == {"w2"}
    assert report.parameters["w2"].wrong.all() and all(report.parameters[name].undecided.all() for name in spoil)
    assert report.evaluations <= 126


def test_scattered_errors_fail_and_nothing_right_is_called_wrong():
    f, grad, params = mlp(SIZES, "tanh", 6)
    places = np.random.default_rng(0).choice(params["w0"].size, 300, replace=False)
    report = check_gradient(f, planted(grad, lambda g: np.put(g["w0"], places, 1.0)), params)
    assert report.verdict == "fail"
    found = np.flatnonzero(report.parameters["w0"].wrong)
    assert len(found)
    assert set(found) <= set(places)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_claims_that_are_no_numbers_fail(value):
    f, grad, params = mlp(SIZES, "tanh", 7)
    report = check_gradient(f, planted(grad, lambda g: np.put(g["w0"], 5, value)), params)
    assert report.verdict == "fail"
    assert wrong_elements(report) == {"w0": {(0, 5)}}


def test_layers_and_products():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 60)), rng.normal(size=(60, 50))

    def vjp(dy, x, w):
        d = dy / np.cosh(x @ w) ** 2
        return d @ w.T, x.T @ d

    def forward(x, w):
        return np.tanh(x @ w), (x, w)

    def backward(dy, cache):
        return vjp(dy, *cache)

    def last_column_dropped(dy, x, w):
        dx, dw = vjp(dy, x, w)
        return dx, dw * (np.arange(50) < 49)

    assert check_layer(forward, backward, x, w, method="directional").ok
    assert check_vjp(lambda x, w: np.tanh(x @ w), vjp, x, w, method="directional").ok
    report = check_vjp(lambda x, w: np.tanh(x @ w), last_column_dropped, x, w, method="directional")
    assert {place[1] for place in wrong_elements(report)["w"]} == {49}
    assert report.parameters["w"].wrong.sum() == 60


def test_vectorized_calls():
    def slope(x):
        return 1 - np.tanh(x) ** 2

    def f(x):
        return np.tanh(x).sum(axis=-1)

    assert check_gradient(f, slope, X, method="directional", vectorized=True).evaluations < 30
    wrong = planted(slope, lambda g: np.negative(g[7:8], out=g[7:8]))
    found = wrong_elements(check_gradient(f, wrong, X, method="directional", vectorized=True))
    assert found == {"params": {(7,)}}


# ---- what cannot be told --------------------------------------------------------------------------------------------


def right_without(x):
    return 1 - np.tanh(x) ** 2


def test_noise_that_hides_a_typical_element_is_no_pass():
    def noisy(x):  # neighbouring numbers are hundreds of periods apart
        return np.tanh(x).sum() + np.sin(1e17 * x.sum())

    for claim in (right_without, np.zeros_like):
        assert check_gradient(noisy, claim, X, method="directional").verdict == "inconclusive"


def test_a_wave_that_short_steps_resolve_is_no_noise():
    def wave(x):
        return np.tanh(x).sum() + 1e-2 * np.sin(1e9 * x.sum())

    true = right_without(X) + 1e7 * np.cos(1e9 * X.sum())
    found = check_gradient(wave, right_without, X, method="directional")
    assert found.verdict != "pass"
    params = found.parameters["params"]
    assert np.all(np.abs(params.reference - true)[params.wrong] <= params.error_bound[params.wrong])


def test_a_function_that_is_nowhere_finite_beside_the_point_is_no_pass():
    report = check_gradient(
        lambda x: np.tanh(x).sum() if np.array_equal(x, X) else np.nan,
        lambda x: 1 - np.tanh(x) ** 2,
        X,
        method="directional",
    )
    assert report.verdict == "inconclusive"


@pytest.mark.parametrize("limit", [1, 5, 12, 20, 25, 30, 40, 60, 90, 120])
def test_max_evaluations_is_kept_and_nothing_passes_unseen(limit):
    f, grad, params = mlp(SIZES, "tanh", 8)
    calls = []

    def counted(p):
        calls.append(1)
        return f(p)

    for claim in (grad, planted(grad, lambda g: np.negative(g["w1"][:1, :1], out=g["w1"][:1, :1]))):
        calls.clear()
        report = check_gradient(counted, claim, params, max_evaluations=limit)
        assert report.evaluations == len(calls) <= limit
        assert report.verdict == "inconclusive" or (report.ok if claim is grad else report.verdict == "fail")
        if report.verdict == "inconclusive":
            assert all(parameter.undecided.all() or name == "w1" for name, parameter in report.parameters.items())


# ---- choosing the method --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "limit", "directional"),
    [
        (20, None, False),
        (20, 100, False),
        (400, None, False),
        (400, 900, False),
        (400, 899, True),
        (10_001, None, True),
        (10_001, 30_000, True),
    ],
)
def test_auto_chooses_from_counts(elements, limit, directional):
    x = np.random.default_rng(0).normal(size=elements)
    report = check_gradient(lambda x: np.sin(x).sum(), np.cos, x, max_evaluations=limit)
    assert bool(np.isnan(report.parameters["params"].reference).all()) == directional
    assert any("random directions" in spot for spot in report.blind_spots) == directional
    assert report.ok


def test_exhaustive_looks_at_each_whatever_the_count():
    x = np.random.default_rng(0).normal(size=10_001)
    report = check_gradient(lambda x: x @ x, lambda x: 2 * x, x, method="exhaustive")
    assert report.ok
    assert not np.isnan(report.parameters["params"].reference).any()


@pytest.mark.parametrize(
    "check",
    [
        lambda: numerical_gradient(lambda x: x @ x, X, method="directional"),
        lambda: check_jvp(np.sin, lambda t, x: np.cos(x) * t[0], X, method="directional"),
        lambda: check_hvp(lambda x: 2 * x, lambda x, v: 2 * v, X, method="directional"),
    ],
)
def test_where_directions_make_no_sense_they_are_refused(check):
    with pytest.raises(InvalidArgument, match="directional"):
        check()


# ---- cost and repetition --------------------------------------------------------------------------------------------


def test_memory_is_a_few_copies_of_the_parameters():
    f, grad, params = mlp((1000, 960, 42, 1), "relu", 0)
    size = sum(value.nbytes for value in params.values())
    tracemalloc.start()
    try:
        report = check_gradient(f, grad, params)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.ok
    assert peak <= 8 * size


def test_the_same_seed_gives_the_same_report():
    f, grad, params = mlp((60, 50, 10, 1), "relu", 0)
    wrong = planted(grad, lambda g: np.negative(g["w0"][:2], out=g["w0"][:2]))
    one, other = (check_gradient(f, wrong, params, method="directional", rng=5).to_dict() for _ in range(2))
    one.pop("seconds"), other.pop("seconds")
    assert str(one) == str(other)


def in_single_precision(seed):
    """A regression by two layers of tanh, 10,401 weights in float32, and its gradient."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(8, 50)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    params = {"W": (rng.normal(size=(50, 200)) / 7).astype(np.float32), "b": np.zeros(200, np.float32)}
    params |= {"v": (rng.normal(size=200) / 14).astype(np.float32), "c": np.zeros(1, np.float32)}

    def residual(p):
        return np.tanh(x @ p["W"] + p["b"]) @ p["v"] + p["c"] - y

    def grad(p):
        hidden, dy = np.tanh(x @ p["W"] + p["b"]), 2 * residual(p)
        dz = dy[:, None] * p["v"] * (1 - hidden**2)
        return {"W": x.T @ dz, "b": dz.sum(0), "v": hidden.T @ dy, "c": dy.sum(keepdims=True)}

    return lambda p: float(np.sum(residual(p) ** 2, dtype=np.float64)), grad, params


@pytest.mark.parametrize("seed", seeds(3))
def test_float32_given_as_numbers_passes_where_directions_show_that_it_is_rounded_less_than_assumed(seed):
    f, grad, params = in_single_precision(seed)
    right = grad(params)
    assert check_gradient(f, right, params).ok
    wrong = {name: values.copy() for name, values in right.items()}
    wrong["W"].flat[np.argmax(np.abs(right["W"]))] *= -1
    report = check_gradient(f, wrong, params)
    assert not report.ok and (report.verdict == "fail" or report.findings[0].code == "undecided-assumed"), str(report)
    for name in "Wbv":
        assert check_gradient(f, right | {name: -right[name]}, params).verdict == "fail"


@pytest.mark.parametrize("distance", [1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize(("count", "near"), [(1, 1), (20, 20), (20, 5), (300, 1), (300, 100), (20_000, 3)])
def test_directions_over_a_pole_are_no_evidence(count, near, distance):
    """The points on both sides lie so far beyond it that they say a slope of nearly zero."""
    pole = np.random.default_rng(0).uniform(1, 2, count)
    point = pole + np.where(np.arange(count) < near, distance, 1.0)

    def f(x):
        return float(np.sum(1 / (x - pole)))

    def gradient(x):
        return -1 / (x - pole) ** 2

    def wrong(x):
        return np.where(np.arange(count) < near, 2, 1) * gradient(x)

    verdict = check_gradient(f, gradient, point, method="directional").verdict
    assert verdict == "pass" if near == count else verdict != "fail"
    assert check_gradient(f, wrong, point, method="directional").verdict != "pass"
    if near == count:
        assert check_gradient(f, wrong, point, method="directional").verdict == "fail"


@pytest.mark.parametrize("slack", [1e-6, 1e-9])
@pytest.mark.parametrize(("factor", "verdict"), [(1, "pass"), (-1, "fail")])
def test_a_barrier_that_any_usual_step_crosses_is_seen_from_inside(slack, factor, verdict):
    """The logarithm of what is left of a constraint is infinite within a step of 1e-6 of the elements."""
    x = 1 - slack * (1 + np.random.default_rng(0).random(400))
    with np.errstate(invalid="ignore"):
        report = check_gradient(lambda x: -np.sum(np.log(1 - x)), lambda x: factor / (1 - x), x, method="directional")
    assert report.verdict == verdict


@pytest.mark.parametrize("count", [20, 200, 20_000])
def test_a_stationary_point_passes_and_a_wrong_element_there_fails(count):
    x = np.ones(count)
    f, zero = (lambda x: 3 * np.sum((x - 1) ** 2)), np.zeros(count)
    report = check_gradient(f, zero, x, method="directional")
    assert report.ok and report.evaluations <= 100, str(report)
    wrong = zero.copy()
    wrong[3] = 1e-3
    assert check_gradient(f, wrong, x, method="directional").verdict == "fail"
    assert check_gradient(lambda x: f(x) + 1e-3 * x[3], zero, x, method="directional").verdict != "pass"


@pytest.mark.parametrize("count", [300, 3000, 12000])
def test_where_curvature_changes_along_the_way_a_stationary_point_is_seen_too(count):
    """Noise hides more than where the function is a square, and yet nothing beside how it bends over the step."""
    zeros = np.zeros(count)
    assert check_gradient(lambda x: np.cos(x).sum(), lambda x: -np.sin(x), zeros, method="directional")
    for slope in (1e-6, 1e-2, 1.0):
        report = check_gradient(
            lambda x, slope=slope: np.cos(x).sum() + slope * x[7], np.zeros_like, zeros, method="directional"
        )
        assert report.verdict == "fail", str(report)
        report = check_gradient(
            lambda x, slope=slope: np.cos(x + slope).sum(), np.zeros_like, zeros, method="directional"
        )
        assert report.verdict != "pass", str(report)


@pytest.mark.parametrize("seed", seeds(6))
def test_the_error_of_a_large_leaf_is_not_that_of_smaller_ones_beside_it(seed):
    """Together they are off by nearly one factor, as far as single precision shows."""
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(size=n).astype(np.float32) for name, n in (("w", 60), ("u", 50), ("b", 20))}
    scales = {"w": 1.0, "u": 0.1, "b": 0.05}

    def f(p):
        return float(np.float32(sum(scales[name] * np.sin(np.float32(p[name])).sum() for name in p)))

    def grad(p):
        true = {name: (scales[name] * np.cos(p[name])).astype(np.float32) for name in p}
        return true | {"w": np.float32(1.02) * true["w"]}

    report = check_gradient(f, grad, params, rng=seed)
    assert report.verdict == "fail"
    assert {name for name, parameter in report.parameters.items() if parameter.wrong.any()} == {"w"}, str(report)


@pytest.mark.parametrize("count", [30, 130, 300])
@pytest.mark.parametrize("total", [0.6, 1.0])
def test_many_elements_that_tie_at_a_cap_are_not_called_wrong(count, total):
    """Directions show nothing of a cap that holds unless all fall; that is the gradient they believe in until all of one size are moved."""
    rest = np.random.default_rng(count).normal(size=2000)
    x = np.append(np.ones(count), rest)

    def report(total):
        claim = np.append(np.full(count, total / count), np.cos(rest))
        return check_gradient(
            lambda x: min(np.max(x[:count]), 1.0) + np.sum(np.sin(x[count:])), claim, x, method="directional"
        )

    right = report(total)
    assert right.verdict == ("pass" if count == 30 else "inconclusive"), str(right)
    assert right.evaluations <= 4 * (2 * len(x) + 100)
    for wrong in (-total, 3.0 * total):
        assert report(wrong).verdict == "fail"


@pytest.mark.parametrize(
    ("f", "slopes"), [(np.abs, (-1.0, 1.0)), (lambda x: np.maximum(x, 0), (0.0, 1.0))], ids=["lasso", "relu"]
)
@pytest.mark.parametrize("zeros", [200, 400])
def test_hundreds_of_zeros_at_their_kinks_are_judged_apart_from_the_others(f, slopes, zeros):
    rng = np.random.default_rng(zeros)
    x, factors = np.append(np.zeros(zeros), rng.normal(size=1600)), rng.normal(size=zeros + 1600)

    def report(at_zero):
        claim = factors * np.where(x == 0, at_zero, np.where(x > 0, slopes[1], slopes[0]))
        return check_gradient(lambda x: float(f(x) @ factors), claim, x, method="directional")

    for share in (0.0, 0.5, 1.0):
        right = report(slopes[0] + share * (slopes[1] - slopes[0]))
        assert right.ok and right.evaluations <= 2 * len(x) + 100, str(right)
    for outside in (slopes[0] - 0.5, slopes[1] + 0.5):
        wrong = report(outside)
        assert wrong.verdict == "fail" and not wrong.parameters["params"].wrong[zeros:].any()


@pytest.mark.parametrize("seed", seeds(30, quick=10))
def test_a_median_of_many_that_tie_whose_claims_are_dropped_does_not_pass(seed):
    """Of the seven that tie no few that halving comes down to move the median, and each of them agrees with its claim of zero."""
    x = np.append(np.full(7, 0.3), np.random.default_rng(seed).normal(size=200))

    def verdict(total):
        claim = np.append(np.full(7, total / 7), np.cos(x[7:]))
        f = lambda x: np.median(x[:7]) + np.sum(np.sin(x[7:]))  # noqa: E731
        return check_gradient(f, claim, x, method="directional", rng=seed).verdict

    assert verdict(1.0) != "fail"
    assert verdict(0.0) != "pass" and verdict(-1.0) == "fail"
