"""Gradients of PyTorch functions and modules, in the dtype and on the device that they have.

Differences are taken of the same function in float64, so that a float32 gradient is judged at float32's accuracy. Nothing of
a module's is changed: its parameters are replaced for a call, its buffers by copies, and random numbers are the same in
every call.
"""

from __future__ import annotations

from gradcheck.errors import MissingDependency

try:
    import torch as _torch  # noqa: F401 - its submodules import it too, and would say less where it is missing
except ImportError as error:  # pragma: no cover - needs an environment without it
    raise MissingDependency("gradcheck.torch needs torch, which is not installed: pip install torch") from error

from gradcheck.torch.checks import assert_function, assert_module, check_function, check_module
from gradcheck.torch.own_call import TorchGradientError, gradcheck, gradgradcheck

__all__ = [
    "TorchGradientError", "assert_function", "assert_module", "check_function", "check_module", "gradcheck", "gradgradcheck",
]  # fmt: skip
