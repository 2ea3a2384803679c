import numpy as np
import pytest

from network import article

from .fixtures import NAMES, every_option, option_id, regime, sine_params, stacked, two_samples

RIGHT = (0.05240631171, 0.0105033418, 0.03392409213, 0.02505041808, 0.01136640326, 0.02685341753)
DENSE = (0.1748278786, 0.01289388252, 0.001911308323)

NORMS = {
    "right": RIGHT,
    "author-original": (0.04502880674, 0.02099554405, *RIGHT[2:]),
    "author-broken": (0.03878032217, 0.0318058435, 0.03484901517, 0.01788159322, 0.01137876117, 0.02498886224),
    "transpose-gradient": (0.1203544356, 0.07254205792, 0.02910424848, 0.02883578748, 0.01571266049, 0.02086750329),
    "transpose-mask": (0.017532212, 0.03064167512, 0.04918462945, 0.01547002557, 0.0168511664, 0.02377785228),
    "transpose-upstream": (0.06264771388, 0.1143099022, 0.02609303831, 0.01830467192, 0.01537646146, 0.01928290824),
    "rotate-gradient": (0.03565015216, 0.009137357711, 0.03818191649, 0.02869342564, 0.01570143258, 0.02170460596),
    "rotate-mask": (0.03630937938, 0.02739446138, 0.03821500375, 0.0156008917, 0.008515538383, 0.02169185308),
    "article-transpose": (0.1203544356, 0.06246346394, 0.02910424848, 0.02883578748, 0.01571266049, 0.02377785228),
    "article-rotate": (0.03565015216, 0.04749221035, 0.03818191649, 0.02869342564, 0.01570143258, 0.02169185308),
}

DW1A = [
    [0.0129965842888, 0.0293867253567, 0.0252429210497],
    [0.0118591300663, 0.0225708894314, 0.0119400541229],
    [0.00103346124370, 0.000300178495650, -0.0168201830045],
]
DW2D = [
    [0.00618142405685, 0.0173992478380, 0.00124846713657],
    [0.00404462086043, 0.0126026161171, -0.00480665816191],
    [0.00944241209197, 0.00879492526239, 0.00371548439284],
]


def norms(gradient):
    assert tuple(gradient) == NAMES
    return [np.linalg.norm(gradient[name]) for name in NAMES]


@pytest.mark.parametrize("backward", NORMS)
def test_reference_norms(backward):
    gradient = article.gradient(sine_params(), *two_samples(), backward=backward)
    np.testing.assert_allclose(norms(gradient), (*NORMS[backward], *DENSE), rtol=1e-9)


def test_reference_elements():
    gradient = article.gradient(sine_params(), *two_samples())
    np.testing.assert_allclose(gradient["W1a"], DW1A, rtol=1e-9)
    np.testing.assert_allclose(gradient["W2d"], DW2D, rtol=1e-9)


def test_reference_norms_of_the_published_code():
    expected = (0.02168983659, 0.01944821213, 0.03392675128, 0.0005116520894, 0.008360885356, 0.01804724677)
    gradient = article.gradient(sine_params(), *two_samples(), backward="author-original", shared_kernel=True)
    np.testing.assert_allclose(norms(gradient), (*expected, 0.09560673303, 0.01845258048, 0.002857402062), rtol=1e-9)


def test_reference_norms_of_another_size():
    expected = (0.2359922935, 0.1550085279, 0.2694541507, 0.2605799163, 0.1338690909, 0.1040911354)
    gradient = article.gradient(sine_params((18, 20)), *two_samples())
    np.testing.assert_allclose(norms(gradient), (*expected, 0.09976217857, 0.03076479792, 0.06484620659), rtol=1e-9)


def test_the_author_rotates_upstream_of_layer_1_alone():
    samples = two_samples()
    original = article.gradient(sine_params(), *samples, backward="author-original")
    upstream = article.gradient(sine_params(), *samples, backward="rotate-upstream", layers=(1,))
    for name in NAMES:
        np.testing.assert_allclose(original[name], upstream[name], rtol=1e-13, atol=1e-18)


PUBLISHED = (54.17535974, 2.290681241, 4.006288836, 87.07309417, 0.6744274825, 3.765630053)


@pytest.mark.parametrize(("ties", "first_layer"), [("first", PUBLISHED[:2]), ("all", (54.27337257, 2.290585335))])
def test_reference_norms_of_the_published_init(ties, first_layer):
    params, images, labels, _, _ = regime(12747, "P")
    expected = (*first_layer, *PUBLISHED[2:], 169.4161874, 27.1706125, 24.21074687)
    np.testing.assert_allclose(norms(article.gradient(params, images, labels, ties=ties)), expected, rtol=1e-8)


def test_ties_change_the_gradient_of_nine_images():
    params, images, labels, _, _ = regime(12747, "P")
    each = {name: np.stack([array] * 350) for name, array in params.items()}
    first, every = (article.gradient(each, images[:, None], labels[:, None], ties=ties) for ties in ("first", "all"))
    changed = np.zeros(350, bool)
    for name in ("W1a", "W1b"):
        scale = np.abs(first[name]).max(axis=(1, 2)) + np.abs(every[name]).max(axis=(1, 2))
        changed |= np.abs(first[name] - every[name]).max(axis=(1, 2)) > 1e-9 * scale
    assert changed.sum() == 9


def relative_error_cosine_ratio(got, true):
    size = np.linalg.norm(true)
    return (
        np.linalg.norm(got - true) / size,
        float((got * true).sum() / np.linalg.norm(got) / size),
        np.linalg.norm(got) / size,
    )


PUBLISHED_CHECKS = [
    ("author-original", True, "W1a", (1.81, -0.261, 1.27)),
    ("author-original", True, "W1b", (0.998, 0.617, 0.0028)),
    ("author-broken", True, "W1a", (1.89, 0.373, 2.02)),
    ("author-broken", True, "W1b", (0.980, 0.248, 0.39)),
    ("author-original", False, "W1a", (1.76, -0.911, 0.80)),
    ("author-original", False, "W1b", (0.979, 0.780, 1.53)),
    ("author-broken", False, "W1a", (1.86, 0.643, 2.34)),
    ("author-broken", False, "W1b", (3.08, 0.589, 3.56)),
    ("author-broken", False, "W2a", (1.00, -0.076, 0.019)),
    ("author-broken", False, "W2b", (0.648, 0.771, 0.65)),
    ("author-broken", False, "W2c", (1.05, 0.353, 0.83)),
    ("author-broken", False, "W2d", (0.969, 0.527, 0.99)),
]


@pytest.mark.parametrize(("backward", "shared", "name", "expected"), PUBLISHED_CHECKS)
def test_how_wrong_the_published_gradients_are(backward, shared, name, expected):
    params, images, labels, _, _ = regime(12747, "P")
    got = article.gradient(params, images, labels, backward=backward, shared_kernel=shared)
    true = article.gradient(params, images, labels, shared_kernel=shared)
    for value, reference in zip(relative_error_cosine_ratio(got[name], true[name]), expected, strict=True):
        digits = 4 if abs(reference) < 0.01 else 3 if f"{reference:g}"[-4:-3] == "." else 2
        assert abs(value - reference) <= 0.51 * 10.0**-digits or value == pytest.approx(reference, rel=6e-3)


PUBLISHED_NORMS = [
    ("author-original", (0.028, 135.0, 1.44, 0.129)),
    ("author-broken", (8.21, 142.9, 2.40, 2.08)),
]


@pytest.mark.parametrize(("backward", "expected"), PUBLISHED_NORMS)
def test_published_updates_of_kernels_that_are_not_used(backward, expected):
    params, images, labels, _, _ = regime(12747, "P")
    got = article.gradient(params, images, labels, backward=backward, shared_kernel=True)
    true = article.gradient(params, images, labels, shared_kernel=True)
    for name, norm in zip(NAMES[2:6], expected, strict=True):
        assert not true[name].any()
        assert np.linalg.norm(got[name]) == pytest.approx(norm, rel=2e-2)


@pytest.mark.parametrize("options", every_option(), ids=option_id)
def test_dense_gradients_are_always_right(options):
    params, images, labels, _, _ = regime(2, "G", (5, 6))
    got = article.gradient(params, images[:4], labels[:4], **options)
    true = article.gradient(params, images[:4], labels[:4], shared_kernel=options["shared_kernel"])
    for name in ("W3", "W4", "W5"):
        np.testing.assert_array_equal(got[name], true[name])


@pytest.mark.parametrize("shared", [False, True])
def test_right_is_the_derivative(shared):
    params, images, labels, _, _ = regime(2, "G", (5, 6))
    images, labels = images[:3], labels[:3]
    gradient = article.gradient(params, images, labels, shared_kernel=shared)
    step = 1e-6
    for name, array in params.items():
        moves = step * np.eye(array.size).reshape(array.size, *array.shape)
        up = article.loss(params | {name: array + moves}, images, labels, shared_kernel=shared)
        down = article.loss(params | {name: array - moves}, images, labels, shared_kernel=shared)
        slopes = np.broadcast_to(up - down, array.size) / (2 * step)
        np.testing.assert_allclose(gradient[name].ravel(), slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("options", every_option(), ids=option_id)
def test_leading_axes_equal_looping(options):
    trees = [regime(seed, "G", (5, 6)) for seed in range(3)]
    params = stacked(*(tree[0] for tree in trees))
    images, labels = (np.stack([tree[i][:4] for tree in trees]) for i in (1, 2))
    got = article.gradient(params, images, labels, **options)
    for s, (single, all_images, all_labels, _, _) in enumerate(trees):
        expected = article.gradient(single, all_images[:4], all_labels[:4], **options)
        for name in NAMES:
            np.testing.assert_allclose(got[name][s], expected[name], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_summed_over_the_axes_of_broadcast_weights(shared):
    params, images, labels, _, _ = regime(2, "G", (5, 6))
    images, labels = images[:6].reshape(2, 3, 8, 8), labels[:6].reshape(2, 3)
    many = params | {"W4": np.stack([params["W4"], -params["W4"]])}
    got = article.gradient(many, images, labels, shared_kernel=shared)
    parts = [
        article.gradient(params | {"W4": many["W4"][s]}, images[s], labels[s], shared_kernel=shared) for s in (0, 1)
    ]
    for name in NAMES:
        expected = np.stack([part[name] for part in parts])
        expected = expected if name == "W4" else expected.sum(axis=0)
        assert got[name].shape == many[name].shape
        np.testing.assert_allclose(got[name], expected, rtol=1e-12, atol=1e-15)


def test_identical_patches_tie_under_all_and_share_nothing_under_first():
    params, images, labels, _, _ = regime(12747, "P")
    every = article.gradient(params, images, labels, ties="all")
    first = article.gradient(params, images, labels)
    assert relative_error_cosine_ratio(every["W1a"], first["W1a"])[0] == pytest.approx(0.0031, abs=1e-4)
    assert relative_error_cosine_ratio(every["W1b"], first["W1b"])[0] == pytest.approx(0.0002, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"backward": "left"}, "backward='left'.*right, author-original, author-broken, transpose-gradient"),
        ({"backward": "author-broken", "layers": (1,)}, "layers="),
        ({"backward": "article-rotate", "layers": (2,)}, "layers="),
        ({"layers": ()}, "layers="),
        ({"layers": (1, 3)}, "layers="),
        ({"layers": 1.5}, "layers="),
        ({"ties": "last"}, "ties="),
        ({"backward": "rotate-mask", "shared_kernel": True}, "shared_kernel=True"),
        ({"backward": "article-transpose", "shared_kernel": True}, "shared_kernel=True"),
    ],
)
def test_options_are_checked_before_anything_else(options, match):
    with pytest.raises(ValueError, match=match):
        article.gradient({}, None, None, **options)
    with pytest.raises(ValueError, match=match):
        article.train({}, None, None, learning_rate=0.1, momentum=0.0, epochs=1, **options)
    if "shared_kernel" not in options:
        with pytest.raises(ValueError, match=match):
            article.stages({}, None, **options)


def test_every_backward_has_a_one_line_description():
    assert list(article.BACKWARDS) == [
        "right",
        "author-original",
        "author-broken",
        "transpose-gradient",
        "transpose-mask",
        "transpose-upstream",
        "rotate-gradient",
        "rotate-mask",
        "rotate-upstream",
        "article-transpose",
        "article-rotate",
    ]
    assert all(text and "\n" not in text for text in article.BACKWARDS.values())


@pytest.mark.parametrize("options", every_option(), ids=option_id)
def test_gradient_changes_nothing_and_shares_nothing(options):
    params, (images, labels) = sine_params((5, 6)), two_samples()
    for array in (*params.values(), images, labels):
        array.flags.writeable = False
    gradient = article.gradient(params, images, labels, **options)
    arrays = [*gradient.values()]
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in [*arrays[:i], *params.values(), images])
