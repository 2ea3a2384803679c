"""The right gradient against PyTorch's autograd."""

import numpy as np
import pytest

from network import article

torch = pytest.importorskip("torch")


def torch_gradient(params, images, labels, *, shared_kernel):
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    functional = torch.nn.functional

    def convolve(maps, *names):
        kernels = torch.stack([leaves[name] for name in names])[:, None].flip(-1, -2)
        return functional.conv2d(maps, kernels, padding=1, groups=maps.shape[1])

    def layer(z, activations):
        maps = [phi(z[:, channel]) for channel, phi in enumerate(activations)]
        return functional.max_pool2d(torch.stack(maps, dim=1), 2)

    second = ["W1b"] * 4 if shared_kernel else ["W2a", "W2b", "W2c", "W2d"]
    first = layer(convolve(torch.tensor(images)[:, None], "W1a", "W1b"), [torch.relu, torch.arctan])
    maps = layer(convolve(first, *second), [torch.arctan, torch.relu, torch.arctan, torch.tanh])
    units = torch.tanh(torch.arctan(maps.flatten(1) @ leaves["W3"]) @ leaves["W4"])
    outputs = torch.sigmoid(units @ leaves["W5"])[:, 0]
    loss = ((outputs - torch.tensor(labels)) ** 2).sum() / 2
    loss.backward()
    gradient = {name: np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for name, leaf in leaves.items()}
    return loss.item(), gradient


@pytest.mark.parametrize("shared_kernel", [False, True])
@pytest.mark.parametrize(("scale", "divisor"), [(1.0, 1), (0.2, 16)])
@pytest.mark.parametrize("seed", [0, 12747])
def test_right_gradient_is_autograds(seed, scale, divisor, shared_kernel):
    params, order = article.draw(seed, scale=scale)
    images, labels = article.load_digits01()
    images, labels = images[order] / divisor, labels[order].astype(float)
    loss, expected = torch_gradient(params, images, labels, shared_kernel=shared_kernel)
    assert article.loss(params, images, labels, shared_kernel=shared_kernel) == pytest.approx(loss, rel=1e-12)
    got = article.gradient(params, images, labels, shared_kernel=shared_kernel)
    for name, array in got.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-9, atol=1e-10 * scale, err_msg=name)
