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


def to_bfloat16(values):
    return (
        ((np.asarray(values, np.float32).view(np.uint32) + 0x8000) & np.uint32(0xFFFF0000))
        .view(np.float32)
        .astype(float)
    )


def of_softmax(dy, y):
    return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))


def softmax(x):
    y = np.exp(x) / np.sum(np.exp(x), axis=-1, keepdims=True)
    return y, y


def test_a_backward_in_half_precision_is_told_as_that_and_not_as_one_that_is_not_linear():
    x = RNG.normal(size=(4, 6))
    report = gradcheck.check_layer(softmax, lambda dy, y: to_bfloat16(of_softmax(to_bfloat16(dy), to_bfloat16(y))), x)
    assert [finding.code for finding in report.findings] == ["wrong-gradient"]
    first = report.parameters["x"].diagnoses[0]
    assert first.kind == "truncated" and "bfloat16" in first.message


def test_other_errors_of_a_backward_in_half_precision_keep_their_names():
    x = RNG.normal(size=(4, 6))
    report = gradcheck.check_layer(softmax, lambda dy, y: to_bfloat16(dy**2 * y), x)
    assert report.findings[0].code == "not-linear"
    report = gradcheck.check_layer(
        lambda x: (np.sin(x), x), lambda dy, x: to_bfloat16(dy * (np.cos(x) + 0.5 * x**2)), x
    )
    assert "truncated" not in [d.kind for d in report.parameters["x"].diagnoses]


def test_a_wrong_sign_is_no_mean_over_a_part():
    g = RNG.normal(size=20)
    assert "a mean over" in explain(0.4 * g, g, value=np.arange(20.0))[0].message
    assert explain(-0.4 * g, g, value=np.arange(20.0))[0].message == "the gradient equals -0.4 times the true one"
