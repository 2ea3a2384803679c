import numpy as np
import pytest

from gradcheck.diagnosis import diagnose

KERNEL = np.random.default_rng(0).normal(size=(4, 3, 3))


@pytest.mark.parametrize(
    ("bug", "kind", "words"),
    [
        (lambda g: -g, "constant-ratio", "minus"),
        (lambda g: 2 * g, "constant-ratio", "2 times"),
        (lambda g: g / 36, "constant-ratio", "1/36"),
        (np.zeros_like, "dropped", "zero"),
        (lambda g: g[..., ::-1, ::-1], "rotated", "180"),
        (lambda g: np.swapaxes(g, -1, -2), "transposed", "transposed"),
        (lambda g: g[..., ::-1], "flipped", "last axis"),
        (lambda g: g[..., ::-1, :], "flipped", "last but one"),
    ],
)
def test_the_first_diagnosis_is_the_true_kind(bug, kind, words):
    first = diagnose(bug(KERNEL), KERNEL)[0]
    assert first.kind == kind and words in first.message and first.fit > 0.999


def test_random_errors_are_not_explained():
    rng = np.random.default_rng(1)
    found = [diagnose(g + rng.normal(size=g.shape), g) for g in rng.normal(size=(500, 3, 3))]
    assert sum(map(bool, found)) == 0


def test_a_right_or_broken_gradient_is_not_explained():
    assert diagnose(KERNEL, KERNEL) == () and diagnose(KERNEL * np.nan, KERNEL) == ()
    assert diagnose(np.zeros((0, 2)), np.zeros((0, 2))) == ()
