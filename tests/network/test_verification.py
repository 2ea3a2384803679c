"""Every weight of the article's network on real digits, numerically."""

import numpy as np
import pytest

import gradcheck
from network import article, verification

DENSE = {"W3", "W4", "W5"}


def digits(seed, hidden, scale, count):
    pixels, labels = article.load_digits01()
    params, order = article.draw(seed, hidden=hidden, scale=scale)
    chosen = order[-count:]
    return params, pixels[chosen] / (16 if scale < 1 else 1), labels[chosen]


def truly_wrong(data, **options):
    """Return the weights whose gradient differs from the right one, by comparison of both closed forms."""
    right = article.gradient(*data, shared_kernel=options.get("shared_kernel", False))
    claimed = article.gradient(*data, **options)
    return {
        name
        for name, true in right.items()
        if np.any(np.abs(claimed[name] - true) > 1e-6 * np.abs(true) + 1e-12 * np.max(np.abs(true)))
    }


def found_wrong(report):
    return {name for name, parameter in report.parameters.items() if parameter.wrong.any()}


@pytest.mark.parametrize(("seed", "hidden", "scale"), [(0, (18, 20), 0.2), (1, (48, 56), 1.0), (12747, (28, 36), 1.0)])
def test_the_right_backward_passes(seed, hidden, scale):
    report = verification.check(*digits(seed, hidden, scale, 60))
    assert report.verdict == "pass", str(report)
    assert sum(parameter.wrong.size for parameter in report.parameters.values()) == sum(
        weight.size for weight in article.init_params(0, hidden=hidden).values()
    )


@pytest.mark.parametrize("seed", [12747, pytest.param(0, marks=pytest.mark.slow)])
def test_a_right_gradient_costs_little_more_than_two_calls_a_weight(seed):
    """Of bright images units saturate, and differences have truncation errors of all sizes: few may cost a ladder."""
    images, labels = article.load_digits01()
    images, labels, params = images[:24], labels[:24], article.init_params(seed)
    report = gradcheck.check_gradient(
        lambda p: article.loss(p, images, labels), lambda p: article.gradient(p, images, labels), params
    )
    assert report.verdict == "pass", str(report)
    assert report.evaluations <= 2.2 * sum(weight.size for weight in params.values())


VARIANTS = [name for name in article.BACKWARDS if name != "right"]
PUBLISHED = [name for name in VARIANTS if name.startswith("author")]


@pytest.mark.parametrize(
    ("backward", "seed", "scale"),
    [
        *(pytest.param(name, 0, 0.2, marks=[pytest.mark.slow] * (number % 2)) for number, name in enumerate(VARIANTS)),
        *((name, 12747, 1.0) for name in PUBLISHED),
    ],
)
def test_a_variant_fails_in_exactly_the_weights_where_it_is_wrong(backward, seed, scale):
    """Small weights tell all of them apart; at the scale of the author's, where units saturate, those that were published."""
    data = digits(seed, (6, 7), scale, 12)
    expected = truly_wrong(data, backward=backward)
    report = verification.check(*data, backward=backward)
    assert report.verdict == "fail"
    assert found_wrong(report) == expected
    assert not found_wrong(report) & DENSE


@pytest.mark.parametrize("layers", [(1,), (2,)])
def test_a_variant_at_one_layer(layers):
    data = digits(3, (6, 7), 0.2, 12)
    report = verification.check(*data, backward="transpose-mask", layers=layers)
    assert found_wrong(report) == truly_wrong(data, backward="transpose-mask", layers=layers)


def test_the_published_network_is_shown_for_what_it_is():
    data = digits(12747, (28, 36), 1.0, 40)
    report = verification.check(*data, backward="author-original", shared_kernel=True)
    assert found_wrong(report) == {"W1a", "W1b", "W2a", "W2b", "W2c", "W2d"}
    for name in ("W2a", "W2b", "W2c", "W2d"):
        assert np.all(report.parameters[name].reference == 0)
        assert report.parameters[name].max_abs_error > 0
        assert "never influences the output" in report.parameters[name].diagnoses[0].message
    assert verification.check(*data, shared_kernel=True).verdict == "pass"


def test_gradient_to_every_tied_maximum_is_caught():
    data = digits(12747, (28, 36), 1.0, 100)
    report = verification.check(*data, ties="all")
    assert found_wrong(report) == {"W1a", "W1b"}


def test_divergence_is_that_of_the_closed_forms():
    data = digits(12747, (28, 36), 1.0, 350)
    found = verification.divergence(*data, backward="author-original")
    assert found.parameters["W1a"].relative_error == pytest.approx(1.76, abs=0.005)
    assert found.parameters["W1a"].cosine == pytest.approx(-0.911, abs=0.0005)
    assert found.parameters["W1b"].norm_ratio == pytest.approx(1.53, abs=0.005)
    assert found.parameters["W4"].relative_error == 0
    assert found.total.cosine < 1
