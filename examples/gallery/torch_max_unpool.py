"""`torch.nn.functional.max_unpool2d` behind a max pooling whose windows overlap: each window adds the same gradient once more.

A maximum that two windows share comes twice, with the same place and the same value, and is written there twice: the result holds it once. The gradient
goes to each of the two as if it were alone, so it comes back doubled, and at a maximum of four windows four times. Pooling 3 by 3
with a stride of 2, as here, is usual. That `max_unpool` has no gradient of its own where places repeat is known
([#80204](https://github.com/pytorch/pytorch/issues/80204), open since 2022); here there is one, since the values are equal.
Found by `python -m benchmarks.audit torch`.
"""

import torch
from torch.nn.functional import max_pool2d, max_unpool2d

from gradcheck.torch import check_function

RELEASE = "PyTorch 2.13.0"


def check():
    """Keep the maxima of an image, and zeros elsewhere."""

    def kept(image):
        maxima, places = max_pool2d(image, 3, stride=2, return_indices=True)
        return max_unpool2d(maxima, places, 3, stride=2, output_size=image.shape[-2:])

    image = torch.randn(1, 2, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return check_function(kept, image)


if __name__ == "__main__":
    print(check())
