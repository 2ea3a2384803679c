"""What one explanation needs: evidence, consistency with the bounds, the other parameters, names for its numbers."""

import numpy as np
import pytest

import gradcheck
from gradcheck.diagnosis import Case, Clues, diagnose
from gradcheck.diagnosis.numbers import as_known
from network import layers

RNG = np.random.default_rng(0)


def clues_of(claimed, reference, *, name="w", value=None, kink=None, tolerance=1e-7):
    """Clues as an exact measurement would give them."""
    c, n = np.asarray(claimed, dtype=float)[None], np.asarray(reference, dtype=float)[None]
    margin = tolerance * np.abs(n) + 1e-12 * float(np.max(np.abs(n), where=np.isfinite(n), initial=0.0))
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(c - n) <= margin)
    kinks = np.zeros(c.shape, dtype=bool) if kink is None else np.asarray(kink)[None]
    return Clues(name, c, n, margin, wrong & ~kinks, kinks, value)


def explain(claimed, reference, **more):
    """Explain one parameter alone."""
    value = more.get("value")
    clues = clues_of(claimed, reference, **more)
    return diagnose(Case({"w": clues}, {} if value is None else {"w": value})).get("w", ())


def kinds(*arguments, **more):
    return [diagnosis.kind for diagnosis in explain(*arguments, **more)]


def test_a_right_or_broken_gradient_is_not_explained():
    g = RNG.normal(size=(3, 3))
    assert kinds(g, g) == [] and kinds(g * np.nan, g) == [] and kinds(g, g * np.nan) == []
    assert kinds(np.zeros((0, 2)), np.zeros((0, 2))) == []


def test_numbers_that_are_missing_do_not_hide_the_cause_of_the_others():
    g = RNG.normal(size=(4, 5))
    claimed, reference = 2 * g, g.copy()
    claimed[1, 1], reference[2, 2] = np.nan, np.nan
    assert kinds(claimed, reference) == ["constant-ratio"]


@pytest.mark.parametrize("scale", [1e-290, 1e-150, 1.0, 1e150, 1e300])
def test_size_does_not_matter(scale):
    g = RNG.normal(size=(3, 4))
    assert kinds(2 * scale * g, scale * g)[0] == "constant-ratio" and kinds(scale * g[::-1], scale * g)[0] == "flipped"


def test_fitted_numbers_need_more_elements_than_they_have_freedom():
    """A ratio that means nothing fits any single element; so do a ratio and a multiple of the parameter any two."""
    for size, expected in ((1, []), (2, []), (4, ["constant-ratio"])):
        assert kinds(2.2345 * np.arange(1.3, size + 1), np.arange(1.3, size + 1)) == expected
    g, x = RNG.normal(size=(2, 2))
    assert kinds(1.7 * g + 0.3 * x, g, value=x) == []
    g, x = RNG.normal(size=(2, 6))
    assert kinds(1.7 * g + 0.3 * x, g, value=x) == ["two-term"]


def test_simple_ratios_are_seen_in_a_single_number():
    assert [kinds([r * 1.2345], [1.2345]) for r in (-1, 2, 0.5, 2.345)] == [["constant-ratio"]] * 3 + [[]]


def test_two_exchanged_numbers_are_no_evidence():
    assert kinds([2.5, 1.5], [1.5, 2.5]) == [] and kinds([1.0, 1.0, 2.0], [2.0, 1.0, 1.0]) == []


def test_an_explanation_counts_only_within_the_bounds():
    g = RNG.normal(size=(4, 4))
    almost = 2 * g + 1e-4 * RNG.normal(size=g.shape)
    assert kinds(almost, g) == [] and kinds(almost, g, tolerance=1e-2) == ["constant-ratio"]


def test_what_cannot_be_told_apart_is_listed():
    """The half turn of a symmetric kernel is its transpose about the other diagonal."""
    g = RNG.normal(size=(3, 3))
    g += g.T
    assert set(kinds(g[::-1, ::-1], g)) == {"rotated", "transposed"}


def test_elements_at_kinks_and_their_images_are_left_out():
    g = RNG.normal(size=(4, 4))
    kink = np.zeros((4, 4), dtype=bool)
    kink[0, 1] = True
    claimed = g.T.copy()
    claimed[0, 1], claimed[1, 0] = 7.0, 8.0  # the kink, and where its number should have come from
    assert kinds(claimed, g, kink=kink) == ["transposed"] and kinds(claimed, g) == []


def test_a_small_parameter_borrows_the_explanation_of_the_others():
    g, b = RNG.normal(size=(3, 4)), RNG.normal(size=1)
    factor = 1.2345
    alone = diagnose(Case({"b": clues_of(factor * b, b, name="b")}))
    both = {"w": clues_of(factor * g, g), "b": clues_of(factor * b, b, name="b")}
    assert alone == {} and diagnose(Case(both))["b"][0].kind == "constant-ratio"
    both["b"] = clues_of(1.3 * b, b, name="b")
    assert "b" not in diagnose(Case(both))


def test_what_holds_for_all_parameters_comes_first():
    """Twice the gradient is also the gradient times a parameter that happens to be 2."""
    g = {"a": np.array(1.3), "b": np.array(-0.4)}
    by = {"ratio": (2.0, 2.0), "value": (2.0, 3.7)}
    values = {"a": np.array(2.0), "b": np.array(3.7)}
    for kind, factors in by.items():
        parameters = {n: clues_of(f * g[n], g[n], name=n, value=values[n]) for n, f in zip(g, factors, strict=True)}
        firsts = {name: found[0].kind for name, found in diagnose(Case(parameters, values)).items()}
        assert firsts == dict.fromkeys(g, {"ratio": "constant-ratio", "value": "parametrisation"}[kind])


def test_many_single_numbers_are_explained_together():
    values = {f"p{i}": np.array(RNG.uniform(1, 2)) for i in range(4)}
    g = {name: np.array(RNG.normal()) for name in values}
    parameters = {n: clues_of(1.2345 * g[n], g[n], name=n, value=values[n]) for n in g}
    assert {found[0].kind for found in diagnose(Case(parameters, values)).values()} == {"constant-ratio"}


def test_at_most_three_are_shown_and_fits_lie_between_zero_and_one():
    g = np.full((3, 3), 2.0) + np.eye(3)
    found = explain(2 * g, g, value=np.full((3, 3), 2.0))
    assert 1 <= len(found) <= 3 and all(0 <= diagnosis.fit <= 1 for diagnosis in found)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (5.0, "5 times the true one (5 is the number of outputs (the last axis of y)"),
        (1 / 8, "1/8 of the true one (8 is the batch size (axis 0 of y)"),
        (8 / 7, "8/7 of the true one (n/(n - 1) with n = 8"),
        (7 / 8, "7/8 of the true one ((n - 1)/n with n = 8"),
        (5**0.5, "the square root of 5, the number of outputs"),
        (np.log(2), "ln 2: a logarithm to base 2"),
        (np.pi, "3.14159 is pi"),
    ],
)
def test_numbers_are_named_by_what_occurs(ratio, words):
    x, w = RNG.normal(size=(8, 4)), RNG.normal(size=(4, 5))

    def backward(dy, cache):
        dx, dw = layers.dense_backward(dy, cache)
        return dx, ratio * dw

    report = gradcheck.check_layer(lambda x, w: layers.dense_forward(x, w), backward, x, w)
    assert words in report.parameters["w"].diagnoses[0].message


def test_a_ratio_is_named_within_what_is_known_of_it():
    g = 1 + RNG.random((6, 5))
    noisy = 3 * g * (1 + 2e-4 * RNG.normal(size=g.shape))
    assert "equals 3 times the true one" in explain(noisy, g, tolerance=1e-3)[0].message
    assert "3.3" in explain(3.3 * g, g, tolerance=0.1)[0].message


def test_a_stationary_point_is_not_taken_for_no_influence():
    x = np.zeros(5)
    report = gradcheck.check_gradient(lambda v: float(np.sum(v**2)), lambda v: 2 * v + 1, x)
    assert report.verdict == "fail" and report.parameters["params"].diagnoses == ()


def test_ties_are_named():
    report = gradcheck.check_gradient(
        lambda v: float(np.max(v) + np.sum(np.sin(v))),
        lambda v: (v == v.max()) + np.cos(v),
        np.array([1.0, 3.0, 2.0, 3.0, 0.5]),
    )
    assert report.parameters["params"].diagnoses[0].kind == "ties-only"


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (lambda dy, x: (x[:-1] * dy[:-1]).sum(0), "leaves out the last slice of its upstream along axis 0"),
        (lambda dy, x: x[0] * dy[0], "uses only the first slice of its upstream along axis 0"),
        (lambda dy, x: (x * dy).sum(0) + x[-1] * dy[-1], "counts the last slice of its upstream along axis 0 twice"),
    ],
)
def test_slices_of_the_upstream_are_named(backward, words):
    report = gradcheck.check_layer(
        lambda x, w: (x * w, x), lambda dy, x: (None, backward(dy, x)), RNG.normal(size=(4, 3)), RNG.normal(size=3)
    )
    assert words in report.parameters["w"].diagnoses[0].message


def test_asking_for_more_is_counted_and_bounded():
    calls = [0]

    def forward(x):
        calls[0] += 1
        return np.tanh(x), np.tanh(x)

    for limit in (20, 60, 200, None):
        calls[0] = 0
        report = gradcheck.check_layer(
            forward, lambda dy, y: (dy * (1 - y**2))[::-1], RNG.normal(size=(3, 4)), max_evaluations=limit
        )
        assert report.evaluations == calls[0] <= (limit or calls[0])


def test_a_report_names_the_elements_and_the_cause_in_one_line():
    report = gradcheck.check_gradient(
        lambda p: float(np.sum(np.sin(p["w"]) * np.arange(1, 10).reshape(3, 3))),
        lambda p: {"w": (np.cos(p["w"]) * np.arange(1, 10).reshape(3, 3))[::-1, ::-1]},
        {"w": RNG.normal(size=(3, 3))},
    )
    assert report.parameters["w"].diagnoses[0].message == "the gradient equals the true one rotated by 180 degrees"
    assert "rotated by 180 degrees" in str(report)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (3, 3), (6,)])
@pytest.mark.parametrize("claimed", [1e-300, 1.0, 1e160, 1.7e308])
@pytest.mark.parametrize("true", [1e-310, 1e-160, 1.0, -1.7e308])
def test_numbers_of_any_size_are_explained_without_an_exception(shape, claimed, true):
    """Quotients and differences of these are infinite, and matrices of them have no decomposition."""
    signs = np.where(np.arange(np.prod(shape)).reshape(shape) % 3 == 0, -1.0, 1.0)
    with np.errstate(all="ignore"):
        found = explain(claimed * signs, np.full(shape, true), value=true * signs)
    assert all(0 <= diagnosis.fit <= 1 for diagnosis in found)


@pytest.mark.parametrize(("claim", "slope"), [(1e300, 1e-300), (1e10, 1e-300), (1e308, 1e-5)])
def test_a_claim_beyond_comparison_fails_as_any_other(claim, slope):
    start = np.ones(3) if slope > 1e-200 else np.full(3, 1e200)
    report = gradcheck.check_gradient(lambda x: (x * slope).sum(), lambda x: np.full(3, claim), start)
    assert report.verdict == "fail" and report.parameters["params"].wrong.all()


def test_a_rotation_of_tiny_vectors_into_huge_ones_is_none_but_a_matrix_is_found():
    """Both are scaled apart, so that the size of one hides nothing of the other."""
    true = RNG.normal(size=(3, 8)) * 1e-200
    matrix = RNG.normal(size=(3, 3)) * 1e250
    assert "mixed" in kinds(matrix @ true, true)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 1 / 7, 13.0, 1 / 37, 100.0])
def test_a_count_that_no_size_of_the_check_confirms_is_asked_for_and_not_stated(ratio):
    """Such as a learning rate: f has five terms here, and may have any number that is out of sight."""
    message = explain(ratio * np.array([1.0, -2.5, 0.3, 4.1, 7.7]), np.array([1.0, -2.5, 0.3, 4.1, 7.7]))[0].message
    count = round(max(ratio, 1 / ratio))
    assert "a factor " in message and f"over {count} terms" in message and message.endswith("is asked?)")
    assert f"{count} is " not in message and "terms in f" not in message


def test_a_count_that_is_a_size_of_the_check_is_named():
    message = explain(5 * np.arange(1.0, 6), np.arange(1.0, 6), value=np.ones(5))[0].message
    assert "5 is the length of axis 0 of w: a sum where a mean is asked?" in message


TWINS = {
    "absolute": (lambda x: np.sum(x * np.abs(x)) / 2, np.abs),
    "sign-only": (lambda x: np.sum(np.abs(x)), np.sign),
    "squared": (lambda x: np.sum(x**3) / 3, lambda x: x**2),
    "clipped": (lambda x: np.sum(np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)), lambda x: np.clip(x, -1, 1)),
}
"""Kind -> a function whose right gradient is that of `x`, so made."""


@pytest.mark.parametrize("kind", TWINS)
def test_a_gradient_that_is_rightly_an_absolute_value_or_clipped_passes_without_a_word(kind):
    f, grad = TWINS[kind]
    report = gradcheck.check_gradient(f, grad, np.array([0.3, -2.0, 1.7, -0.6, 2.5, -3.1, 0.9]))
    assert report.verdict == "pass" and not report.parameters["params"].diagnoses


def test_a_wrong_sign_throughout_is_no_absolute_value():
    for g in (np.array([-3.0, -1.2, -0.4, -7.0]), np.array([-2.5])):
        message = explain(-g, g)
        assert not message or message[0].message.startswith("the gradient equals minus"), message


def test_a_mask_is_no_clipping_and_two_equal_errors_are_no_limit():
    g = np.array([0.3, -2.0, 1.7, -0.6, 2.5, -3.1, 0.9])
    assert kinds(np.maximum(g, 0), g)[0] == "zeroed"
    assert "clipped" not in kinds(np.where(np.abs(g) > 2.2, 1.0, g), g)
    assert "clipped" not in kinds(np.full(7, 0.25), g)


@pytest.mark.parametrize("where", [[(0, 1)], [(0, 1), (1, 2), (3, 4)]])
def test_outputs_that_rightly_use_no_upstream_are_not_called_lost(where):
    """Behind a ReLU some outputs have no slope; that explains no errors of others."""
    x, off = RNG.normal(size=(4, 6)), np.zeros((4, 6))
    off[tuple(np.transpose(where))] = 0.3 * RNG.normal(size=len(where))
    report = gradcheck.check_layer(
        lambda x: (np.maximum(x, 0), x),
        lambda dy, x: dy * (x > 0) + off * np.roll(dy, 1, axis=1),
        np.abs(x) * np.sign(x),
    )
    assert report.verdict == "fail"
    assert not [d for d in report.parameters["x"].diagnoses if d.kind == "lost-upstream"]


@pytest.mark.parametrize("g", [[1.0, -3.0, 2.0], [0.5, -0.25, -0.25, 0.0], [2 / 3, -1.0, 1 / 3], [1.0, 1.5, -2.5]])
def test_whole_numbers_that_sum_to_zero_are_no_balance(g):
    assert "unbalanced" not in kinds(np.asarray(g) + RNG.normal(size=len(g)), g)


def test_real_numbers_that_sum_to_zero_are_one():
    g = RNG.normal(size=6)
    g -= np.mean(g)
    assert kinds(g + RNG.normal(size=6), g) == ["unbalanced"]
    assert kinds(g + np.array([0.3, -0.3, 0, 0.1, -0.1, 0]), g) == []


def test_one_explanation_of_several_parameters_is_the_same_for_the_smallest():
    rng = np.random.default_rng(0)
    report = gradcheck.check_gradient(
        lambda p: float(np.sum(p["a"] ** 2) + np.sum(p["b"] ** 2)),
        lambda p: {name: 3 * v for name, v in p.items()},
        {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=2)},
    )
    assert {p.diagnoses[0].kind for p in report.parameters.values()} == {"constant-ratio"}
    assert "3/2 of the true one" in report.findings[0].message


def test_a_slope_beside_one_kink_is_not_told_as_a_tie():
    x = np.array([0.0, 1.3, -2.0])
    report = gradcheck.check_gradient(lambda x: float(np.sum(np.abs(x))), lambda x: np.where(x == 0, 2, np.sign(x)), x)
    assert "none of the slopes on either side, nor between them" in report.findings[0].message


@pytest.mark.parametrize("size", [(20, 30), (40, 50)])
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda g, x: g - 0.5 * x, "missing-weight-decay"),
        (lambda g, x: g * x, "parametrisation"),
        (lambda g, _: np.abs(g), "absolute"),
        (lambda g, _: g + 0.3, "constant-offset"),
    ],
)
def test_a_dozen_measured_elements_are_enough(size, change, kind):
    rng = np.random.default_rng(4)
    a, x = rng.normal(size=size), rng.normal(size=size)
    report = gradcheck.check_gradient(lambda x: float(np.sum(a * np.sin(x))), lambda x: change(a * np.cos(x), x), x)
    assert report.parameters["params"].diagnoses[0].kind == kind


def test_where_a_sample_shows_no_cause_all_of_a_smaller_array_are_looked_at():
    rng = np.random.default_rng(5)
    a, x = rng.normal(size=(20, 30)), rng.normal(size=(20, 30))
    scale = rng.uniform(0.2, 0.8, size=(20, 30))
    report = gradcheck.check_gradient(lambda x: float(np.sum(a * np.sin(x))), lambda x: scale * a * np.cos(x), x)
    assert report.parameters["params"].diagnoses == ()
    assert report.parameters["params"].wrong.all() and report.evaluations <= 5 * 1300


ORDER = np.random.default_rng(7).permutation(60)
FACTORS = np.random.default_rng(8).uniform(0.2, 0.8, size=(60, 1))
LARGE = {
    "row order": (lambda g: g[ORDER], "permuted", "along axis 0 in another order"),
    "column order": (lambda g: g[:, ORDER[ORDER < 50]], "permuted", "along axis 1 in another order"),
    "factors of rows": (lambda g: FACTORS * g, "slice-ratios", "along axis 0"),
    "factors of columns": (lambda g: FACTORS[:50, 0] * g, "slice-ratios", "along axis 1"),
    "sums down": (lambda g: np.cumsum(g, axis=0), "accumulated", "along axis 0"),
    "sums back": (lambda g: np.cumsum(g[:, ::-1], axis=1)[:, ::-1], "accumulated", "from the end along axis 1"),
}
"""What only shows of a large array where its slices cross, or in the whole claim: the change, its kind, and the words for it."""

DECOYS = {
    "sorted columns": lambda g: np.sort(g, axis=0),
    "means of neighbours": lambda g: (g + np.roll(g, 1, 0) + np.roll(g, 2, 0)) / 3 + g**2 / 10,
    "factors of elements": lambda g: g * np.random.default_rng(9).uniform(0.2, 0.8, size=g.shape),
    "running products": lambda g: np.cumprod(1 + 0.01 * g, axis=0),
}
"""Changes like those that are none of them."""


def of_large(change, seed=4):
    rng = np.random.default_rng(seed)
    a, x = rng.normal(size=(60, 50)), rng.normal(size=(60, 50))
    report = gradcheck.check_gradient(lambda x: float(np.sum(a * np.sin(x))), lambda x: change(a * np.cos(x)), x)
    assert report.verdict == "fail" and report.evaluations <= 600
    return report.parameters["params"].diagnoses


@pytest.mark.parametrize("bug", LARGE)
def test_what_is_wrong_with_slices_of_a_large_array_is_named_from_a_few_elements(bug):
    change, kind, words = LARGE[bug]
    (found,) = of_large(change)
    assert found.kind == kind and words in found.message


@pytest.mark.parametrize("decoy", DECOYS)
def test_a_few_elements_of_a_large_array_do_not_mislead(decoy):
    assert not {d.kind for d in of_large(DECOYS[decoy])} & {kind for _, kind, _ in LARGE.values()}


@pytest.mark.parametrize("off", [0.0, 0.3])
def test_a_projection_that_is_missing_in_a_large_array_is_told_from_another_multiple(off):
    rng = np.random.default_rng(6)
    a, x = rng.normal(size=(300, 40)), rng.normal(size=(300, 40))

    def f(x):
        return float(np.sum(a * x / np.linalg.norm(x, axis=1, keepdims=True)) + off * np.sum(np.sin(x)))

    report = gradcheck.check_gradient(f, lambda x: a / np.linalg.norm(x, axis=1, keepdims=True) + off * np.cos(x), x)
    kinds = [d.kind for d in report.parameters["params"].diagnoses]
    assert report.verdict == "fail" and ("missing-projection" in kinds) == (off == 0)


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [(4.99999, 2e-5, "5"), (99.99999, 1e-4, "100"), (1.27873, 9e-6, "1.27873"), (-0.2500001, 1e-6, "-0.25")],
)
def test_a_strength_has_no_more_digits_than_are_known(number, error, text):
    assert as_known(number, error) == text


@pytest.mark.parametrize("seed", [0, 36, 82, 146])  # measured a little below whole numbers in all but the first
def test_whole_numbers_are_not_told_as_those_of_a_coarse_type(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, size=(900, 5)).astype(float)
    report = gradcheck.check_gradient(lambda w: np.sum(counts @ w), lambda w: counts[:-1].sum(0), rng.normal(size=5))
    assert "truncated" not in [d.kind for d in report.parameters["params"].diagnoses]


def test_of_nothing_no_upstream_is_lost():
    """An embedding whose first row is padding, which backward does not know, though it is picked twice."""
    at, table = np.array([0, 3, 0, 2, 5, 1]), RNG.normal(size=(7, 4))

    def backward(dy, cache):
        out = np.zeros_like(table)
        np.add.at(out, cache, dy)
        return out, None

    report = gradcheck.check_layer(lambda w, at: (w[at] * (at != 0)[:, None], at), backward, table, at)
    assert report.parameters["w"].diagnoses and "repeated-index" not in [
        d.kind for d in report.parameters["w"].diagnoses
    ]


def test_a_sum_that_is_missing_is_not_told_as_functions_in_another_order():
    x, b = RNG.normal(size=(5, 4)), RNG.normal(size=4)
    report = gradcheck.check_layer(lambda x, b: (x + b, None), lambda dy, _: (dy.copy(), dy.copy()), x, b)
    assert [f.code for f in report.findings] == ["wrong-shape"]
