import numpy as np
import pytest

from network import article

from .fixtures import NAMES, regime, sine_params, two_samples


@pytest.mark.parametrize(
    ("hidden", "shared", "outputs"),
    [
        ((28, 36), False, (0.495268949399, 0.491678496746)),
        ((28, 36), True, (0.500503893380, 0.496470131986)),
        ((18, 20), False, (0.444305054166, 0.360198692424)),
    ],
)
def test_reference_outputs(hidden, shared, outputs):
    images, _ = two_samples()
    got, _ = article.forward(sine_params(hidden), images, shared_kernel=shared)
    np.testing.assert_allclose(got, outputs, rtol=1e-9)


def test_reference_cost():
    assert article.loss(sine_params(), *two_samples()) == pytest.approx(0.251841041454, rel=1e-9)


@pytest.mark.parametrize(("shared", "cost"), [(False, 87.48681402121), (True, 84.75703170743)])
def test_cost_of_the_published_init(shared, cost):
    params, images, labels, _, _ = regime(12747, "P")
    assert article.loss(params, images, labels, shared_kernel=shared) == pytest.approx(cost, rel=1e-10)


def naive_outputs(params, image):
    """The forward pass of the article, pixel by pixel."""

    def convolve(image, kernel):
        size = len(image)
        padded = np.pad(image, 1)
        out = np.zeros((size, size))
        for i, j, u, v in np.ndindex(size, size, 3, 3):
            out[i, j] += padded[i + u, j + v] * kernel[2 - u, 2 - v]
        return out

    def pool(image):
        return image.reshape(len(image) // 2, 2, -1, 2).max(axis=(1, 3))

    def relu(z):
        return np.maximum(z, 0)

    first = {"a": relu(convolve(image, params["W1a"])), "b": np.arctan(convolve(image, params["W1b"]))}
    plan = [("a", "W2a", np.arctan), ("a", "W2b", relu), ("b", "W2c", np.arctan), ("b", "W2d", np.tanh)]
    h = np.concatenate([pool(phi(convolve(pool(first[c]), params[name]))).ravel() for c, name, phi in plan])
    z5 = np.tanh(np.arctan(h @ params["W3"]) @ params["W4"]) @ params["W5"]
    return 1 / (1 + np.exp(-z5[0]))


def test_forward_is_the_articles_formulas():
    params, images, _, _, _ = regime(4, "G", (5, 6))
    expected = [naive_outputs(params, image) for image in images[:5]]
    np.testing.assert_allclose(article.forward(params, images[:5])[0], expected, rtol=1e-13)


def test_a_shared_kernel_is_w1b_in_layer_2():
    params, images, _, _, _ = regime(4, "G")
    same = params | {f"W2{channel}": params["W1b"] for channel in "abcd"}
    got = article.forward(params, images, shared_kernel=True)[0]
    np.testing.assert_array_equal(got, article.forward(same, images)[0])


def test_predict_is_one_above_a_half():
    params, images, labels, _, _ = regime(12747, "P")
    predicted = article.predict(params, images)
    assert predicted.dtype.kind == "i"
    np.testing.assert_array_equal(predicted, article.forward(params, images)[0] > 0.5)
    assert predicted.shape == labels.shape


@pytest.mark.parametrize("perturbed", NAMES)
def test_any_weight_may_carry_leading_axes(perturbed):
    params, images, labels, _, _ = regime(1, "G", (5, 6))
    images, labels = images[:3], labels[:3]
    rng = np.random.default_rng(0)
    many = params[perturbed] + 0.1 * rng.standard_normal((2, 4, *params[perturbed].shape))
    got = article.loss(params | {perturbed: many}, images, labels)
    assert got.shape == (2, 4)
    for index in np.ndindex(2, 4):
        expected = article.loss(params | {perturbed: many[index]}, images, labels)
        np.testing.assert_allclose(got[index], expected, rtol=1e-13)


def test_layers_before_a_perturbed_weight_run_once():
    params, images, _, _, _ = regime(1, "G", (5, 6))
    many = np.stack([params["W5"]] * 7)
    outputs, cache = article.forward(params | {"W5": many}, images[:3])
    assert outputs.shape == (7, 3)
    assert cache.maps == (3, 4, 2, 2)
    assert cache.dense[2].x.shape == (3, 6)


def test_weights_and_images_broadcast_together():
    params, images, labels, _, _ = regime(1, "G", (5, 6))
    images, labels = images[:6].reshape(2, 3, 8, 8), labels[:6].reshape(2, 3)
    many = params | {"W1a": np.stack([params["W1a"], -params["W1a"]])[:, None]}
    got = article.loss(many, images, labels)
    assert got.shape == (2, 2)
    for p, s in np.ndindex(2, 2):
        expected = article.loss(params | {"W1a": many["W1a"][p, 0]}, images[s], labels[s])
        np.testing.assert_allclose(got[p, s], expected, rtol=1e-13)


def test_float32_stays_float32():
    images, _ = two_samples()
    params = {name: array.astype(np.float32) for name, array in sine_params().items()}
    assert article.forward(params, images.astype(np.float32))[0].dtype == np.float32


def test_integer_images_and_labels_will_do():
    params, images, labels, _, _ = regime(12747, "P")
    assert article.loss(params, images.astype(int), labels.astype(bool)) == article.loss(params, images, labels)


def without(name):
    return {key: value for key, value in sine_params().items() if key != name}


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (without("W2c"), "params has no W2c"),
        (sine_params() | {"b": np.zeros(3)}, "params has an unknown 'b'"),
        (sine_params() | {"W1a": np.zeros((3, 4))}, r"params\['W1a'\] has shape \(3, 4\)"),
        (sine_params() | {"W3": np.zeros((15, 28))}, r"params\['W3'\]"),
        (sine_params() | {"W4": np.zeros((27, 36))}, r"params\['W4'\]"),
        (sine_params() | {"W5": np.zeros((36, 2))}, r"params\['W5'\]"),
        (sine_params() | {"W5": np.zeros(36)}, r"params\['W5'\]"),
        (sine_params() | {"W5": np.zeros((36, 1), complex)}, r"params\['W5'\] has dtype complex"),
        (sine_params() | {"W3": np.zeros((2, 16, 28)), "W4": np.zeros((3, 28, 36))}, r"params\['W3'\]"),
    ],
)
def test_params_that_do_not_fit(params, match):
    images, labels = two_samples()
    with pytest.raises(ValueError, match=match):
        article.forward(params, images)
    with pytest.raises(ValueError, match=match):
        article.gradient(params, images, labels)
    with pytest.raises(ValueError, match=match):
        article.stages(params, labels)
    with pytest.raises(ValueError, match=match):
        article.train(params, images, labels, learning_rate=0.1, momentum=0.0, epochs=1)


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (np.zeros((8, 8)), np.zeros(8), "images has shape"),
        (np.zeros((2, 8, 9)), np.zeros(2), "images has shape"),
        (np.zeros((2, 8, 8)), np.zeros(3), "labels has shape"),
        (np.zeros((2, 8, 8)), np.float64(0), "labels has shape"),
        (np.zeros((2, 8, 8)), np.array(["0", "1"]), "labels has dtype"),
    ],
)
def test_data_that_do_not_fit(images, labels, match):
    with pytest.raises(ValueError, match=match):
        article.loss(sine_params(), images, labels)
    with pytest.raises(ValueError, match=match):
        article.gradient(sine_params(), images, labels)
    with pytest.raises(ValueError, match=match):
        article.train(sine_params(), images, labels, learning_rate=0.1, momentum=0.0, epochs=1)


def test_forward_changes_nothing_and_shares_nothing():
    params, images = sine_params(), two_samples()[0]
    copies, image_copy = {name: array.copy() for name, array in params.items()}, images.copy()
    outputs, cache = article.forward(params, images)
    expected = outputs.copy()
    outputs[:] = -1
    np.testing.assert_array_equal(article.forward(params, images)[0], expected)
    np.testing.assert_array_equal(cache.outputs, expected)
    np.testing.assert_array_equal(images, image_copy)
    for name, array in params.items():
        np.testing.assert_array_equal(array, copies[name])
