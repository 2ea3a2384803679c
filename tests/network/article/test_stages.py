import numpy as np
import pytest

from network import article

from .fixtures import NAMES, every_option, option_id, regime, sine_params, stacked, two_samples

STAGES = [
    "conv1",
    "act1",
    "pool1",
    "conv2",
    "act2",
    "pool2",
    "dense3",
    "act3",
    "dense4",
    "act4",
    "dense5",
    "act5",
    "loss",
]


def run(stages, x):
    """Loss, gradients of the weights in order, gradient of the images."""
    caches = []
    for _, forward, _, params in stages:
        x, cache = forward(x, *params)
        caches.append(cache)
    dy, gradients = np.ones_like(x), []
    for (_, _, backward, params), cache in zip(stages[::-1], caches[::-1], strict=True):
        dy, *d_params = backward(dy, cache)
        assert len(d_params) == len(params)
        gradients = [*d_params, *gradients]
    return x, gradients, dy


OPTIONS = [
    {key: value for key, value in options.items() if key != "shared_kernel"}
    for options in every_option()
    if not options["shared_kernel"]
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: option_id(options | {"shared_kernel": False}))
def test_stages_give_the_loss_and_its_gradient(options):
    params, images, labels, _, _ = regime(2, "G", (5, 6))
    images, labels = images[:4], labels[:4]
    stages = article.stages(params, labels, **options)
    loss, gradients, d_images = run(stages, images)
    np.testing.assert_allclose(loss, article.loss(params, images, labels), rtol=1e-14)
    assert d_images.shape == images.shape
    expected = article.gradient(params, images, labels, **options)
    for got, name in zip(gradients, NAMES, strict=True):
        np.testing.assert_array_equal(got, expected[name], err_msg=name)


def test_names_and_params():
    params, (_, labels) = sine_params(), two_samples()
    stages = article.stages(params, labels)
    assert [name for name, *_ in stages] == STAGES
    by_name = {name: weights for name, _, _, weights in stages}
    assert [len(by_name[name]) for name in STAGES] == [2, 0, 0, 4, 0, 0, 1, 0, 1, 0, 1, 0, 0]
    np.testing.assert_array_equal(by_name["conv2"][3], params["W2d"])


def test_the_right_chain_differentiates_the_images_too():
    params, images, labels, _, _ = regime(2, "G", (5, 6))
    images, labels = images[:1] + 0.1 * np.random.default_rng(0).standard_normal((1, 8, 8)), labels[:1]
    _, _, d_images = run(article.stages(params, labels), images)
    moves = 1e-6 * np.eye(64).reshape(64, 1, 8, 8)
    slopes = article.loss(params, images + moves, labels) - article.loss(params, images - moves, labels)
    np.testing.assert_allclose(d_images.ravel(), slopes / 2e-6, rtol=1e-5, atol=1e-9)


def test_stages_take_leading_axes():
    trees = [regime(seed, "G", (5, 6)) for seed in range(2)]
    params = stacked(*(tree[0] for tree in trees))
    images, labels = (np.stack([tree[i][:3] for tree in trees]) for i in (1, 2))
    loss, gradients, _ = run(article.stages(params, labels), images)
    np.testing.assert_array_equal(loss, article.loss(params, images, labels))
    expected = article.gradient(params, images, labels)
    for got, name in zip(gradients, NAMES, strict=True):
        np.testing.assert_array_equal(got, expected[name])


def test_labels_are_checked():
    with pytest.raises(ValueError, match="labels has shape"):
        article.stages(sine_params(), np.float64(1))
