"""`torch.linalg.det` of a singular matrix: the gradient is zero, and should be the matrix of cofactors.

Backward solves with `det * grad`, which is zero already. Known: [#104675](https://github.com/pytorch/pytorch/issues/104675), closed;
a note in [#79487](https://github.com/pytorch/pytorch/pull/79487) says why.
"""

import torch

from gradcheck.torch import check_function

RELEASE = "PyTorch 2.13.0"


def check():
    """Check a matrix of rank one, with a regular one beside it."""
    matrices = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[3.0, 1.0], [2.0, 4.0]]], dtype=torch.float64)
    return check_function(lambda m: torch.linalg.det(m).sum(), matrices)


if __name__ == "__main__":
    print(check())
