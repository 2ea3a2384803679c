"""The article's gradients under `gradcheck`: how far each is from the true one, and the verdict on every weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from gradcheck import Comparison, Report, check_gradient, compare
from gradcheck.arguments import CheckOptions
from network import article

__all__ = ["check", "divergence"]


def divergence(
    params: Mapping[str, Any],
    images: Any,
    labels: Any,
    *,
    backward: str,
    layers: tuple[int, ...] = (1, 2),
    ties: str | None = None,
    shared_kernel: bool = False,
) -> Comparison:
    """Measure how far a backward's gradient is from the true one of the same forward.

    Parameters
    ----------
    params, images, labels, backward, layers, ties, shared_kernel
        As for `network.article.gradient`, without leading axes.

    Returns
    -------
    Comparison
        Of ``backward``'s gradient (claimed) with the right one, whose ties go to the first maximum (reference).

    Raises
    ------
    ValueError
        As `network.article.gradient`.
    """
    claimed = article.gradient(
        params, images, labels, backward=backward, layers=layers, ties=ties, shared_kernel=shared_kernel
    )
    return compare(claimed, article.gradient(params, images, labels, shared_kernel=shared_kernel))


def check(
    params: Mapping[str, Any],
    images: Any,
    labels: Any,
    *,
    backward: str = "right",
    layers: tuple[int, ...] = (1, 2),
    ties: str | None = None,
    shared_kernel: bool = False,
    **options: Unpack[CheckOptions],
) -> Report:
    """Check a backward's gradient numerically, every element of every weight.

    Parameters
    ----------
    params, images, labels, backward, layers, ties, shared_kernel
        As for `network.article.gradient`, without leading axes.
    **options
        As for `gradcheck.check_gradient`. Many perturbed weights go through the network in one call.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        As `network.article.gradient`, and for options that describe no check.
    """
    options.setdefault("vectorized", True)
    return check_gradient(
        lambda p: article.loss(p, images, labels, shared_kernel=shared_kernel),
        lambda p: article.gradient(
            p, images, labels, backward=backward, layers=layers, ties=ties, shared_kernel=shared_kernel
        ),
        dict(params),
        **options,
    )
