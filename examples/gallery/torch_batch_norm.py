"""`torch.nn.functional.batch_norm` on the CPU: backward reads a weight with gaps as if it had none.

For an input of two axes and a `weight` that is a column of a matrix. Forward is right, and so are inputs of three or
four axes, `layer_norm` and `group_norm`. What lies beside the weight in memory gets into the gradient.
"""

import torch

from gradcheck.torch import check_function

RELEASE = "PyTorch 2.13.0"


def check():
    """Check batch normalisation in training, its weight every second number of an array."""
    torch.manual_seed(0)
    weight = torch.randn(3, 2, dtype=torch.float64)[:, 0]

    def normalised(x):
        return torch.nn.functional.batch_norm(x, None, None, weight, None, training=True)

    return check_function(normalised, torch.randn(6, 3, dtype=torch.float64, requires_grad=True))


if __name__ == "__main__":
    print(check())
