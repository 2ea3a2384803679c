import numpy as np
import pytest

from gradcheck import InvalidArgument, compare

FIELDS = ("relative_error", "cosine", "angle", "norm_ratio", "sign_agreement", "max_abs_error", "digits")


def test_closed_forms():
    found = compare({"a": np.array([1.0, 1.0])}, {"a": np.array([1.0, 0.0])}).parameters["a"]
    assert found.relative_error == pytest.approx(1.0)
    assert found.cosine == pytest.approx(np.sqrt(0.5))
    assert found.angle == pytest.approx(45.0)
    assert found.norm_ratio == pytest.approx(np.sqrt(2))
    assert found.sign_agreement == 0.5
    assert found.max_abs_error == 1.0


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
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}, "lacks b"),
        ({"a": 1.0, "b": None}, {"a": 1.0, "b": 2.0}, "lacks b"),
        (np.array([1.0, 2.0], dtype=object), np.ones(2), "claimed"),
        (np.ones(2, int), np.ones(2, int), "nothing to compare"),
    ],
)
def test_what_does_not_fit_is_refused(claimed, reference, message):
    with pytest.raises(InvalidArgument, match=message):
        compare(claimed, reference)
