"""`torch.as_strided_scatter`: the gradient by the input is the complement of the right one.

Elements that are overwritten get the gradient, elements that are kept get zero; it should be the other way round. The gradient by what is written is right.
Found by `python -m benchmarks.audit torch`.
"""

import torch

from gradcheck.torch import check_function

RELEASE = "PyTorch 2.13.0"


def check():
    """Overwrite two of five numbers."""

    def written(x, src):
        return torch.as_strided_scatter(x, src, (2,), (2,), 0)

    return check_function(
        written, torch.arange(1.0, 6.0, dtype=torch.float64), torch.tensor([7.0, 8.0], dtype=torch.float64)
    )


if __name__ == "__main__":
    print(check())
