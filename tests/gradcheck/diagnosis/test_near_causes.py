"""What another cause looks like: no explanation is given that only fits."""

import numpy as np

import gradcheck
from tests.gradcheck.diagnosis.test_diagnosis import explain

RNG = np.random.default_rng(1)


def test_rows_picked_twice_of_which_every_upstream_counts_are_not_told_as_lost():
    weights = np.array([1.0, 1.0, 0.4, 1.0, 0.7, 1.0])[:, None]  # of the second and third time that row 3 is picked

    def backward(dy, cache):
        out = np.zeros(cache[0].shape)
        np.add.at(out, cache[1], weights * dy)
        return out, None

    at = np.array([3, 1, 3, 0, 3, 6])
    report = gradcheck.check_layer(lambda t, at: (t[at], (t, at)), backward, RNG.normal(size=(8, 4)), at)
    assert report.verdict == "fail" and report.parameters["t"].wrong.sum() == 4
    assert not [d for d in report.parameters["t"].diagnoses if d.kind in ("repeated-index", "lost-upstream")]


def test_a_small_term_that_is_missing_is_said_and_no_tolerance_advised():
    g, v = RNG.normal(size=(2, 9))
    message = explain(g + 3e-5 * v, g)[0].message
    assert "a small term is missing" in message and "rtol" not in message
