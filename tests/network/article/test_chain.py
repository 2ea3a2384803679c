"""The article's network as a chain: each wrong backward pass is found in the stage that is wrong, and in no other."""

import numpy as np
import pytest

from gradcheck import check_chain, check_layer
from network import article

from .fixtures import regime


def chain(seed, backward, layers, ties, *, is_blank, samples=1):
    """Return the stages of a chain, and digits or digits without a blank background."""
    params, images, labels, _, _ = regime(seed, "G", (5, 6))
    images, labels = images[:samples], labels[:samples]
    if not is_blank:
        images = images + 0.1 * np.random.default_rng(seed).standard_normal(images.shape)
    return article.stages(params, labels, backward=backward, layers=layers, ties=ties), images


def check(seed, backward, layers, ties, *, is_blank, samples=1):
    return check_chain(*chain(seed, backward, layers, ties, is_blank=is_blank, samples=samples), rng=seed)


def check_pool(pool, seed, backward, *, is_blank):
    """Check one stage that pools, as a layer at the middle of the input that it has in the chain."""
    stages, x = chain(seed, backward, (1, 2), "first", is_blank=is_blank)
    for name, forward, backward_of_stage, params in stages:
        if name == pool:
            edge = (x.shape[-1] - 4) // 2
            middle = slice(edge, edge + 4)
            return check_layer(forward, backward_of_stage, x[..., middle, middle], *params, rng=seed)
        x, _ = forward(x, *params)
    raise AssertionError(f"the chain has no stage {pool}")


def wrong_stages(report):
    return [finding.where for finding in report.findings if finding.code == "wrong-stage"]


def pools(layers):
    return [f"pool{layer}" for layer in sorted(layers, reverse=True)]


@pytest.mark.parametrize(
    ("seed", "is_blank", "samples"), [(0, True, 1), (1, False, 2), pytest.param(2, True, 1, marks=pytest.mark.slow)]
)
def test_the_right_pass_is_right(seed, is_blank, samples):
    report = check(seed, "right", (1, 2), "first", is_blank=is_blank, samples=samples)
    assert report.ok, str(report)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_gradient_to_all_tied_maxima_is_no_gradient(seed):
    """A blank background ties; the activations of both channels of the first layer keep it so."""
    report = check(seed, "right", (1, 2), "all", is_blank=True, samples=2)
    assert report.verdict == "fail"
    assert set(wrong_stages(report)) <= {"pool1", "pool2"}
    assert "pool1" in wrong_stages(report)


VARIANTS = [f"{kind}-{what}" for kind in ("transpose", "rotate") for what in ("gradient", "mask", "upstream")]


AT_BOTH = [(backward, pool, pool == "pool1") for backward in VARIANTS for pool in ("pool1", "pool2")]
"""With the blank background, which ties, at the first of them."""


@pytest.mark.parametrize(
    ("backward", "pool", "is_blank"),  # each kind, each place and each pool; the other half is slow
    [pytest.param(*case, marks=[pytest.mark.slow] * (number % 4 in {1, 2})) for number, case in enumerate(AT_BOTH)],
)
def test_a_variant_of_a_pool_is_wrong_and_named(backward, pool, is_blank):
    report = check_pool(pool, 11, backward, is_blank=is_blank)
    assert report.verdict == "fail"
    kind, what = backward.split("-")
    if what != "mask":
        words = {"transpose": "transposed in its last two axes", "rotate": "rotated by 180 degrees"}[kind]
        (parameter,) = report.parameters.values()
        first = parameter.diagnoses[0]
        assert words in first.message and ("its upstream" in first.message) == (what == "upstream")


@pytest.mark.parametrize(
    ("backward", "layers", "is_blank"),
    [
        ("transpose-gradient", (1, 2), False),
        pytest.param("rotate-upstream", (1,), True, marks=pytest.mark.slow),
        ("rotate-mask", (2,), False),
    ],
)
def test_in_a_chain_the_pools_with_a_variant_are_wrong_and_no_other_stage(backward, layers, is_blank):
    report = check(11, backward, layers, "first", is_blank=is_blank)
    assert wrong_stages(report) == pools(layers)
    assert report.stage == report.findings[0].where == pools(layers)[0]
    assert report.stage in report.findings[0].message


@pytest.mark.parametrize(
    ("backward", "is_blank", "wrong"),
    [
        ("author-broken", True, ["pool2", "conv2", "pool1", "conv1"]),
        ("article-transpose", False, ["pool2", "pool1"]),
        pytest.param("article-rotate", True, ["pool2", "pool1"], marks=pytest.mark.slow),
    ],
)
def test_the_passes_of_author_and_article(backward, is_blank, wrong):
    assert wrong_stages(check(5, backward, (1, 2), "first", is_blank=is_blank)) == wrong


def test_the_author_rotates_the_gradient_between_the_layers_and_that_is_said():
    report = check(5, "author-original", (1, 2), "first", is_blank=False)
    assert wrong_stages(report) == ["conv2"]
    (diagnosis, *_) = report.parameters["conv2.x"].diagnoses
    assert diagnosis.kind == "rotated"
    assert "rotated by 180 degrees" in report.findings[0].message


def test_leading_axes_and_single_precision():
    trees = [regime(seed, "G", (5, 6)) for seed in range(2)]
    params = {name: np.stack([tree[0][name] for tree in trees]).astype(np.float32) for name in trees[0][0]}
    images, labels = (np.stack([tree[i][:1] for tree in trees]).astype(np.float32) for i in (1, 2))
    report = check_chain(article.stages(params, labels, backward="rotate-upstream", layers=(2,), ties="first"), images)
    assert report.stage == "pool2"
