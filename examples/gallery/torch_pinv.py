"""`torch.linalg.pinv` with a tolerance that cuts singular values: the gradient is that of a matrix of lower rank.

The formula holds for a matrix whose other singular values are zero. Cut values are small but not zero: they turn the vectors that are kept, and that
is missing. The error is of the order of the largest value that is cut over the smallest that is kept; `jax.numpy.linalg.pinv` has the same formula.
[#110009](https://github.com/pytorch/pytorch/issues/110009) asks about the difference from the gradient through `svd`, which is right. Found by
`python -m benchmarks.audit jax`.
"""

import torch

from gradcheck.torch import check_function

RELEASE = "PyTorch 2.13.0"


def check():
    """Invert what is above a fifth of the largest singular value."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 3, dtype=torch.float64, generator=generator)).Q for n in (5, 3))
    matrix = left @ torch.diag(torch.tensor([3.0, 1.0, 0.3], dtype=torch.float64)) @ right.T
    return check_function(lambda matrix: torch.linalg.pinv(matrix, rtol=0.2), matrix)


if __name__ == "__main__":
    print(check())
