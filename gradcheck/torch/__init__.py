"""Gradients of PyTorch functions and modules, in the dtype and on the device that they have.

Differences are taken of the same function in float64, so that a float32 gradient is judged at float32's accuracy. Nothing of
a module's is changed: its parameters are replaced for a call, its buffers by copies, and random numbers are the same in
every call.
"""

from __future__ import annotations

from gradcheck.errors import needing

with needing("torch", __name__):
    from gradcheck.torch.checks import assert_function, assert_module, check_function, check_module
    from gradcheck.torch.own_call import TorchGradientError, gradcheck, gradgradcheck

__all__ = [
    "TorchGradientError", "assert_function", "assert_module", "check_function", "check_module", "gradcheck", "gradgradcheck",
]  # fmt: skip
