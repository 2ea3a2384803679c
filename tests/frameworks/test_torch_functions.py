"""Functions that people write, in PyTorch: automatic differentiation gives the right gradients, and bugs are planted."""

import numpy as np
import pytest

from gradcheck import check_gradient

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def recurrent(rng):
    inputs = torch.tensor(rng.normal(size=(4, 3)))

    def loss(p):
        hidden = cell = torch.zeros(4, dtype=p["W"].dtype)
        for row in inputs.to(p["W"].dtype):
            i, f, o, g = (row @ p["W"] + hidden @ p["U"] + p["b"]).chunk(4)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
        return (hidden**2).sum()

    return loss, {"W": rng.normal(size=(3, 16)), "U": rng.normal(size=(4, 16)) * 0.5, "b": rng.normal(size=16) * 0.1}


def attention(rng):
    inputs = torch.tensor(rng.normal(size=(5, 6)))

    def loss(p):
        x = inputs.to(p["q"].dtype)
        q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
        return (functional.softmax(q @ k.T / 2, dim=-1) @ v).pow(3).sum()

    return loss, {name: rng.normal(size=(6, 4)) * 0.5 for name in "qkv"}


def convolutional(rng):
    inputs, labels = torch.tensor(rng.normal(size=(2, 1, 8, 8))), torch.tensor([0, 1])

    def loss(p):
        maps = functional.relu(functional.conv2d(inputs.to(p["c"].dtype), p["c"], p["b"]))
        return functional.cross_entropy(functional.max_pool2d(maps, 2).flatten(1) @ p["w"], labels)

    return loss, {
        "c": rng.normal(size=(3, 1, 3, 3)) * 0.5,
        "b": rng.normal(size=3) * 0.1,
        "w": rng.normal(size=(27, 2)) * 0.3,
    }


def normalised(rng):
    inputs = torch.tensor(rng.normal(size=(8, 4)))

    def loss(p):
        z = inputs.to(p["w"].dtype) @ p["w"]
        z = (z - z.mean(0)) / torch.sqrt(z.var(0, unbiased=False) + 1e-5) * p["g"] + p["b"]
        return (functional.relu(z) ** 2).mean()

    return loss, {"w": rng.normal(size=(4, 5)), "g": rng.normal(size=5), "b": rng.normal(size=5)}


def gaussian_process(rng):
    def loss(p):
        covariance = p["L"] @ p["L"].T + torch.eye(5, dtype=p["L"].dtype) * torch.exp(p["s"])
        return torch.logdet(covariance) + p["y"] @ torch.linalg.solve(covariance, p["y"])

    return loss, {"L": rng.normal(size=(5, 5)), "s": np.array(-1.0), "y": rng.normal(size=5)}


def quantile(rng):
    inputs, targets = torch.tensor(rng.normal(size=(30, 4))), torch.tensor(rng.normal(size=30))

    def loss(p):
        error = targets.to(p["w"].dtype) - inputs.to(p["w"].dtype) @ p["w"]
        return torch.maximum(0.3 * error, -0.7 * error).mean()

    return loss, {"w": rng.normal(size=4)}


def hinge_at_the_origin(rng):
    inputs, labels = torch.tensor(rng.normal(size=(30, 4))), torch.tensor(np.sign(rng.normal(size=30)))

    def loss(p):
        margins = labels.to(p["w"].dtype) * (inputs.to(p["w"].dtype) @ p["w"])
        return functional.relu(1 - margins).sum() + 0.01 * (p["w"] ** 2).sum()

    return loss, {"w": np.zeros(4)}


def total_variation(rng):
    def loss(p):
        x = p["x"]
        return (x[1:] - x[:-1]).abs().sum() + (x[:, 1:] - x[:, :-1]).abs().sum() + (x**2).sum()

    return loss, {"x": np.round(rng.normal(size=(4, 4)))}


def alignment(rng):
    lengths = torch.tensor([8]), torch.tensor([3])
    targets = torch.tensor([[1, 2, 1]])

    def loss(p):
        return functional.ctc_loss(functional.log_softmax(p["x"], -1)[:, None], targets, *lengths)

    return loss, {"x": rng.normal(size=(8, 4))}


def matrix_norms(rng):
    return (
        lambda p: torch.linalg.matrix_norm(p["A"], 2) + torch.linalg.matrix_norm(p["A"], "nuc"),
        {"A": rng.normal(size=(4, 3))},
    )


def order_statistics(rng):
    return (
        lambda p: 2 * p["x"].topk(3).values.sum() + p["x"].kthvalue(2).values + p["x"].std(),
        {"x": rng.normal(size=8)},
    )


FUNCTIONS = [
    recurrent, attention, convolutional, normalised, gaussian_process, quantile, hinge_at_the_origin, total_variation,
    alignment, matrix_norms, order_statistics,
]  # fmt: skip


def in_numpy(loss):
    """The value and the gradient of a PyTorch function, from and to dicts of NumPy arrays."""

    def value(p):
        with torch.no_grad():
            return loss({name: torch.tensor(array) for name, array in p.items()}).numpy()[()]

    def gradient(p):
        tensors = {name: torch.tensor(array, requires_grad=True) for name, array in p.items()}
        loss(tensors).backward()
        return {name: tensor.grad.numpy() for name, tensor in tensors.items()}

    return value, gradient


def planted(gradient, name, index, bug, small):
    """The gradient with a bug in one leaf: in its largest element, or in all of it."""

    def wrong(p):
        found = gradient(p)
        array = np.array(found[name])
        if bug == "one sign":
            array[index] *= -1
        elif bug == "one off":
            array[index] *= 1 + small
        else:
            array = array * array.dtype.type({"twice": 2.0, "dropped": 0.0, "2 %": 1.02}[bug])
        return {**found, name: array}

    return wrong


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", range(2))
def test_automatic_gradients_pass_and_planted_bugs_are_named(function, dtype, seed):
    rng = np.random.default_rng(seed)
    loss, params = function(rng)
    params = {name: np.asarray(array, dtype) for name, array in params.items()}
    value, gradient = in_numpy(loss)
    report = check_gradient(value, gradient, params)
    assert report.ok, str(report)
    true = gradient(params)
    name = max(true, key=lambda leaf: float(np.abs(true[leaf]).max()))
    index = np.unravel_index(np.argmax(np.abs(true[name])), true[name].shape)
    for bug in ("one sign", "one off", "twice", "dropped", "2 %"):
        wrong = planted(gradient, name, index, bug, 1e-4 if dtype == np.float64 else 0.05)
        report = check_gradient(value, wrong, params)
        assert report.verdict == "fail", f"{bug}: {report}"
        assert {leaf for leaf, parameter in report.parameters.items() if parameter.wrong.any()} == {name}, bug
        if bug.startswith("one"):
            assert np.argwhere(report.parameters[name].wrong).tolist() == [list(index)]
