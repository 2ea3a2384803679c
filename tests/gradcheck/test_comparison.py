import numpy as np
import pytest

from gradcheck import InvalidArgument, compare
from gradcheck.reports.comparison import divergence_of

FIELDS = ("relative_error", "cosine", "angle", "norm_ratio", "sign_agreement", "max_abs_error", "digits")


def test_closed_forms():
    found = compare({"a": np.array([1.0, 1.0])}, {"a": np.array([1.0, 0.0])}).parameters["a"]
    assert found.relative_error == pytest.approx(1.0)
    assert found.cosine == pytest.approx(np.sqrt(0.5))
    assert found.angle == pytest.approx(45.0)
    assert found.norm_ratio == pytest.approx(np.sqrt(2))
    assert found.sign_agreement == 0.5
    assert found.max_abs_error == 1.0


LARGEST = np.finfo(float).max
EDGES = [  # claimed, reference -> relative error, cosine, angle, norm ratio, sign agreement, largest error, digits
    ("equal", [3.0, 4.0], [3.0, 4.0], (0, 1, 0, 1, 1, 0, -np.log10(np.finfo(float).eps / 2))),
    ("minus", [3.0, 4.0], [-3.0, -4.0], (2, -1, 180, 1, 0, 8, 0)),
    ("beyond a right angle", [-1.0, 1.0], [1.0, 0.0], (np.sqrt(5), -np.sqrt(0.5), 135, np.sqrt(2), 0, 2, 0)),
    ("at a right angle", [0.0, 2.0], [1.0, 0.0], (np.sqrt(5), 0, 90, 2, 0, 2, 0)),
    ("both zero", [0.0, 0.0], [0.0, 0.0], (0, 1, 0, 1, 1, 0, -np.log10(np.finfo(float).eps / 2))),
    ("zero claimed", [0.0, 0.0], [0.0, 5.0], (1, 0, 90, 0, 0.5, 5, 0)),
    ("zero is true", [0.0, 5.0], [0.0, 0.0], (LARGEST, 0, 90, LARGEST, 0.5, 5, 0)),
    ("empty", [], [], (0, 1, 0, 1, 1, 0, -np.log10(np.finfo(float).eps / 2))),
    ("off by 1e-3", [1.001], [1.0], (1e-3, 1, 0, 1.001, 1, 1e-3, 3)),
    ("off by more than all", [30.0], [1.0], (29, 1, 0, 30, 1, 29, 0)),
    ("large", [0.65 * LARGEST], [-0.65 * LARGEST], (2, -1, 180, 1, 0, LARGEST, 0)),
    (
        "large beside zero",
        [0.6 * LARGEST, 1.0],
        [0.0, 1.0],
        (0.6 * LARGEST, 0, 90, 0.6 * LARGEST, 0.5, 0.6 * LARGEST, 0),
    ),
    ("long, all of it in the last block", [0.0] * 2**16 + [6.0], [0.0] * 2**16 + [3.0], (1, 1, 0, 2, 1, 3, 0)),
    ("huge, opposite", [LARGEST, 0.0], [-LARGEST, 0.0], (2, -1, 180, 1, 0.5, LARGEST, 0)),
]


@pytest.mark.parametrize(("claimed", "reference", "expected"), [edge[1:] for edge in EDGES], ids=[e[0] for e in EDGES])
def test_values_at_the_edges(claimed, reference, expected):
    found = compare(np.array(claimed), np.array(reference)).total
    assert [getattr(found, field) for field in FIELDS] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_digits_end_where_the_reference_is_known_no_better():
    for resolution, digits in (
        (0.0, 15.95),
        (1e-4, 4),
        (np.array([np.inf, 1e-4]), 4 + np.log10(2) / 2),
        (np.nan, 15.95),
    ):
        found = divergence_of(np.ones(2), np.ones(2), resolution=resolution)
        assert found.digits == pytest.approx(digits, abs=0.01) and found.relative_error == 0
    assert divergence_of(1.01 * np.ones(2), np.ones(2), resolution=1e-4).digits == pytest.approx(2)


def test_nan_stays_nan():
    found = compare(np.array([np.nan, 1.0]), np.ones(2)).total
    assert np.isnan(found.relative_error) and np.isnan(found.digits) and np.isnan(found.max_abs_error)
    for claimed, reference in (([np.nan], [0.0]), ([0.0], [np.nan]), ([1.0], [np.nan]), ([np.nan], [np.nan])):
        found = compare(np.array(claimed), np.array(reference)).total
        assert np.isnan(found.relative_error) and np.isnan(found.norm_ratio)


def test_what_is_infinite_is_infinitely_far_off():
    found = compare(np.array([np.inf, 1.0]), np.ones(2)).total
    assert (found.relative_error, found.norm_ratio, found.max_abs_error, found.digits) == (np.inf, np.inf, np.inf, 0)


def test_no_ratio_of_norms_is_told_where_the_true_gradient_is_zero():
    assert "true is zero, angle" in str(compare(5.0, 0.0)) and "norm ratio" not in str(compare(5.0, 0.0))
    assert "norm ratio 2.5" in str(compare(5.0, 2.0))


def test_the_table_has_a_line_for_all_only_where_there_are_several():
    one, two = str(compare({"a": 1.0}, {"a": 2.0})), str(compare({"a": 1.0, "longer": 2.0}, {"a": 2.0, "longer": 2.0}))
    assert (
        one.startswith("a  relative error 0.5, angle 0 degrees, norm ratio 0.5, equal signs 100%, 0.3 digits")
        and "\n" not in one
    )
    lines = two.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["a", "longer", "all together"]
    assert len({line.index("relative error") for line in lines}) == 1


def test_equal_trees():
    found = compare([np.ones(3), 2.0], [np.ones(3), 2.0]).total
    assert (found.relative_error, found.cosine, found.angle, found.norm_ratio) == (0.0, 1.0, 0.0, 1.0)
    assert found.digits > 15


def test_the_total_is_that_of_one_long_vector():
    rng = np.random.default_rng(0)
    a, b, c, d = rng.normal(size=(4, 5))
    both = compare({"x": a, "y": b}, {"x": c, "y": d}).total
    long = compare(np.concatenate([a, b]), np.concatenate([c, d])).total
    for field in FIELDS:
        assert getattr(both, field) == pytest.approx(getattr(long, field))


@pytest.mark.parametrize(
    ("claimed", "reference"),
    [
        (np.zeros(3), np.zeros(3)),
        (np.ones(3), np.zeros(3)),
        (np.zeros(3), np.ones(3)),
        (np.zeros((0, 2)), np.zeros((0, 2))),
        (np.array([1e308, -1e308]), np.array([-1e308, 1e308])),
        (np.array([1e308, 1e308]), np.array([1e-310, 0.0])),
        (np.array([5e-324]), np.array([1e308])),
    ],
)
def test_everything_is_finite_and_silent(claimed, reference):
    found = compare(claimed, reference).total
    assert all(np.isfinite(getattr(found, field)) for field in FIELDS)


@pytest.mark.parametrize(("claimed", "reference"), [([3 + 4j, 0], [3.0, 0.0]), ([3.0, 0.0], [3 + 4j, 0])])
def test_an_imaginary_part_on_one_side_counts(claimed, reference):
    found = compare(np.array(claimed), np.array(reference)).total
    assert found.relative_error == pytest.approx(4 / np.linalg.norm(reference))
    assert found.max_abs_error == pytest.approx(4)


def test_small_angles_are_accurate():
    found = compare(np.array([1.0, 1e-9]), np.array([1.0, 0.0])).total
    assert found.angle == pytest.approx(np.degrees(1e-9), rel=1e-6)


@pytest.mark.parametrize(
    ("claimed", "reference", "message"),
    [
        ({"a": 1.0}, {"a": np.ones(2)}, "shape"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}, "'b'"),
        ("text", np.ones(2), "claimed"),
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}, "lacks 'b'"),
        ({"a": 1.0, "b": None}, {"a": 1.0, "b": 2.0}, "lacks 'b'"),
        (np.array([1.0, 2.0], dtype=object), np.ones(2), "claimed"),
        (np.ones(2, int), np.ones(2, int), "nothing to compare"),
    ],
)
def test_what_does_not_fit_is_refused(claimed, reference, message):
    with pytest.raises(InvalidArgument, match=message):
        compare(claimed, reference)
