"""Bugs of the backward pass: each computes what it says, by the formulas written out for one sample, and trains so."""

import numpy as np
import pytest

from network import article
from network.article import bugs
from network.article.bugs import ALL, BUGS, RIGHT, Bug

from .fixtures import NAMES, two_samples

HIDDEN = (5, 7)
FEEDBACK = bugs.feedback_of(3, HIDDEN, 0.2)
SLOPES = {"relu": lambda z: z > 0, "arctan": lambda z: 1 / (1 + z**2), "tanh": lambda z: 1 - np.tanh(z) ** 2}
VALUES = {"relu": lambda z: np.maximum(z, 0), "arctan": np.arctan, "tanh": np.tanh}
LAYERS = {"W1a": "relu", "W1b": "arctan", "W2a": "arctan", "W2b": "relu", "W2c": "arctan", "W2d": "tanh"}
SOURCES = {"W2a": "W1a", "W2b": "W1a", "W2c": "W1b", "W2d": "W1b"}


def convolved(x, w):
    """True convolution by its formula."""
    padded, y = np.pad(x, 1), np.zeros_like(x)
    for i, j, u, v in np.ndindex(*x.shape, 3, 3):
        y[i, j] += padded[i + u, j + v] * w[2 - u, 2 - v]
    return y


def windows(z):
    return z.reshape(len(z) // 2, 2, len(z) // 2, 2).swapaxes(1, 2)


def naive(params, image, label, bug):
    """The gradient of one sample, formula by formula; where the bug is, the formula that it has in place of the right one."""
    seen, z, pooled = {}, {}, {}
    for name, act in LAYERS.items():
        seen[name] = image if name in NAMES[:2] else pooled[SOURCES[name]]
        z[name] = convolved(seen[name], params["W1b" if bug.shared_kernel and name in SOURCES else name])
        pooled[name] = windows(VALUES[act](z[name])).max(axis=(2, 3))
    h = np.concatenate([pooled[name].ravel() for name in SOURCES])
    z3 = h @ params["W3"]
    a4 = np.tanh(np.arctan(z3) @ params["W4"])
    o = 1 / (1 + np.exp(-(a4 @ params["W5"])))
    ends = np.cumsum([params[name].size for name in NAMES[6:]])[:-1]
    parts = zip(NAMES[6:], np.split(FEEDBACK, ends), strict=True)
    back = {name: part.reshape(params[name].shape) for name, part in parts}
    back = {name: back[name] if name in bug.feedback else params[name] for name in back}
    is_flat = "dense" in bug.flat
    s5 = (o - label) * (1 if "output" in bug.flat else o * (1 - o))
    s4 = (back["W5"] @ s5) * (1 if is_flat else 1 - a4**2)
    s3 = (back["W4"] @ s4) / (1 if is_flat else 1 + z3**2)
    g = {"W5": np.outer(a4, s5), "W4": np.outer(np.arctan(z3), s4), "W3": np.outer(h, s3)}
    upstream = dict(zip(SOURCES, (back["W3"] @ s3).reshape(4, 2, 2), strict=True)) | {
        "W1a": np.zeros((4, 4)),
        "W1b": np.zeros((4, 4)),
    }
    for name in (*SOURCES, "W1a", "W1b"):
        if bug.backward == "author-original" and name in NAMES[:2]:
            upstream[name] = np.rot90(upstream[name], 2)
        activated = VALUES[LAYERS[name]](z[name])
        mask = np.zeros_like(activated)
        for i, j in np.ndindex(*pooled[name].shape):
            u, v = np.unravel_index(np.argmax(windows(activated)[i, j]), (2, 2))
            mask[2 * i + u, 2 * j + v] = 1
        mask[...] = 1 if bug.has_no_mask else mask
        slope = 1 if f"layer {name[1]}" in bug.flat else SLOPES[LAYERS[name]](z[name])
        d = np.pad(mask * np.kron(upstream[name], np.ones((2, 2))) * slope, 1)
        padded = np.pad(seen[name], 1)
        g[name] = np.array(
            [
                [np.sum(d[1:-1, 1:-1] * padded[2 - a :, 2 - b :][: len(mask), : len(mask)]) for b in range(3)]
                for a in range(3)
            ]
        )
        if name in SOURCES:
            w = np.rot90(params[name], 2) if bug.has_turned_kernels else params[name]
            upstream[SOURCES[name]] += [[np.sum(d[p : p + 3, q : q + 3] * w) for q in range(4)] for p in range(4)]
    moved = {name: np.rot90(g[name], 2) if name in bug.rotated else g[name] for name in NAMES}
    moved |= {name: g[other] for name, other in zip(bug.exchanged, bug.exchanged[::-1], strict=True)}
    return {name: bug.factors.get(name, 1) * value for name, value in moved.items()}


@pytest.fixture(scope="module")
def case():
    images, labels = two_samples()
    return article.init_params(3, hidden=HIDDEN, scale=0.3), np.asarray(images), np.asarray(labels, float)


@pytest.mark.parametrize("bug", ALL, ids=lambda bug: bug.name)
def test_each_bug_computes_what_it_says(bug, case):
    params, images, labels = case
    got = bugs.gradient(params, images, labels, bug=bug, feedback=FEEDBACK)
    each = [naive(params, image, label, bug) for image, label in zip(images, labels, strict=True)]
    for name in NAMES:
        np.testing.assert_allclose(got[name], sum(g[name] for g in each), rtol=1e-10, atol=1e-15)


def test_without_a_bug_it_is_the_gradient(case):
    params, images, labels = case
    got, right = (
        bugs.gradient(params, images, labels, bug=RIGHT, feedback=FEEDBACK),
        article.gradient(params, images, labels),
    )
    for name in NAMES:
        np.testing.assert_allclose(got[name], right[name], rtol=1e-11, atol=1e-16)


def test_each_bug_makes_a_difference(case):
    params, images, labels = case
    right = bugs.gradient(params, images, labels, bug=RIGHT, feedback=FEEDBACK)
    for bug in BUGS:
        got = bugs.gradient(params, images, labels, bug=bug, feedback=FEEDBACK)
        assert any(not np.allclose(got[name], right[name], rtol=1e-3, atol=0) for name in NAMES), bug.name
    assert len({bug.name for bug in ALL}) == len(ALL) == 26


@pytest.mark.parametrize("members", bugs.groups(ALL), ids=lambda members: ALL[members[0]].name)
def test_networks_trained_together_are_those_trained_by_the_formula(members, case):
    """Two epochs of momentum written out, with the gradient that was checked above."""
    _, images, labels = case
    chosen = [ALL[i] for i in members]
    start = [article.init_params(seed, hidden=HIDDEN, scale=0.3) for seed in (0, 1)]
    together = bugs.train(
        {name: np.stack([p[name] for p in start]) for name in NAMES},
        np.stack([images, images[::-1]]),
        np.stack([labels, labels[::-1]]),
        bugs=chosen,
        feedback=np.stack([FEEDBACK, FEEDBACK]),
        learning_rate=0.1,
        momentum=0.5,
        epochs=2,
    )
    for i, bug in enumerate(chosen):
        for seed, order in ((0, (0, 1)), (1, (1, 0))):
            params, velocity = dict(start[seed]), dict.fromkeys(NAMES, 0)
            costs = np.zeros(2)
            for epoch in range(2):
                for k in order:
                    of = {"shared_kernel": bug.shared_kernel}
                    costs[epoch] += article.loss(params, images[k : k + 1], labels[k : k + 1], **of)
                    g = bugs.gradient(params, images[k : k + 1], labels[k : k + 1], bug=bug, feedback=FEEDBACK)
                    velocity = {name: 0.5 * velocity[name] + 0.1 * g[name] for name in NAMES}
                    params = {name: params[name] - velocity[name] for name in NAMES}
            np.testing.assert_allclose(together.costs[:, i, seed], costs, rtol=1e-9)
            for name in NAMES:
                np.testing.assert_allclose(together.params[name][i, seed], params[name], rtol=1e-8, atol=1e-12)


def test_feedback_is_the_same_for_the_same_seed():
    a, b, c = bugs.feedback_of(0, HIDDEN, 1.0), bugs.feedback_of(0, HIDDEN, 1.0), bugs.feedback_of(1, HIDDEN, 1.0)
    assert np.array_equal(a, b) and not np.array_equal(a, c) and a.size == 16 * 5 + 5 * 7 + 7
    assert a[0] == np.random.RandomState(10**6).randn()


def test_a_bug_is_data():
    assert Bug("x", "y") == Bug("x", "y") and not RIGHT.changes_dense
