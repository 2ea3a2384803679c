"""The article's gradients under `gradcheck`: how far each is from the true one, and the verdict on every weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from gradcheck import Comparison, Report, check_gradient, compare
from gradcheck.functions.options import CheckOptions
from network import article
from network.article.bugs import ALL, RIGHT, feedback_of, gradient

__all__ = ["check", "check_right", "divergence", "examine", "weigh"]

AUTHOR_SEED = 12747


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


def check_right(images: int, *, progress: Callable[[int, int], object] | None = None) -> Report:
    """Check all nine weights of the right gradient at the author's initial weights.

    Parameters
    ----------
    images : int
        How many of the training images, from the end of the author's permutation.
    progress : callable, optional

    Returns
    -------
    Report
    """
    pixels, labels = article.load_digits01()
    params, order = article.draw(AUTHOR_SEED)
    chosen = order[-images:]
    return check(params, pixels[chosen], labels[chosen], progress=progress)


def weigh(
    backward: str,
    images: int,
    shared_kernel: bool,  # noqa: FBT001 - the arguments of a task travel by position
    *,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Measure and check one gradient on real digits, in the regime in which the network trains well.

    Parameters
    ----------
    backward : str
    images : int
        How many of the training images, from the end of the author's permutation.
    shared_kernel : bool
    progress : callable, optional

    Returns
    -------
    dict
        ``verdict``, ``evaluations`` and per weight its divergence, verdict and diagnoses: numbers and strings only.
    """
    pixels, labels = article.load_digits01()
    params, order = article.draw(AUTHOR_SEED, scale=0.2)
    chosen = order[-images:]
    data = pixels[chosen] / 16, labels[chosen]
    report = check(params, *data, backward=backward, shared_kernel=shared_kernel, progress=progress)
    measured = divergence(params, *data, backward=backward, shared_kernel=shared_kernel).parameters
    weights = {}
    for name, found in measured.items():
        checked = report.parameters[name]
        weights[name] = {
            "relative_error": found.relative_error,
            "cosine": found.cosine,
            "angle": found.angle,
            "sign_agreement": found.sign_agreement,
            "norm_ratio": found.norm_ratio,
            "verdict": "wrong" if checked.wrong.any() else "undecided" if checked.undecided.any() else "right",
            "wrong_elements": int(checked.wrong.sum()),
            "elements": int(checked.wrong.size),
            "diagnoses": [diagnosis.message for diagnosis in checked.diagnoses],
        }
    return {"verdict": report.verdict, "evaluations": report.evaluations, "weights": weights}


def examine(position: int, *, progress: Callable[[int, int], object] | None = None) -> dict[str, Any]:
    """Check the gradient of one bug on one image, and where that passes on two; measure it on a hundred.

    Parameters
    ----------
    position : int
        In `network.article.bugs.ALL`.
    progress : callable, optional

    Returns
    -------
    dict
        The fields of `network.mutants.Row` that speak of the check.
    """
    bug = ALL[position]
    pixels, labels = article.load_digits01()
    pixels = pixels / 16
    params, order = article.draw(AUTHOR_SEED, scale=0.2)
    feedback = feedback_of(AUTHOR_SEED, params["W4"].shape, 0.2)
    evaluations, is_shared = 0, bug.shared_kernel
    for images in (1, 2):
        chosen = order[-images:]
        report = check_gradient(
            lambda p, chosen=chosen: article.loss(p, pixels[chosen], labels[chosen], shared_kernel=is_shared),
            lambda p, chosen=chosen: gradient(p, pixels[chosen], labels[chosen], bug=bug, feedback=feedback),
            params,
            vectorized=True,
            progress=progress,
        )
        evaluations += report.evaluations
        if report.verdict == "fail" or bug == RIGHT:
            break
    chosen = order[-100:]
    claimed = gradient(params, pixels[chosen], labels[chosen], bug=bug, feedback=feedback)
    right = article.gradient(params, pixels[chosen], labels[chosen], shared_kernel=is_shared)
    total = compare(claimed, right).total
    return {
        "verdict": report.verdict,
        "images": images,
        "evaluations": evaluations,
        "wrong": tuple(name for name, found in report.parameters.items() if found.wrong.any()),
        "relative_error": total.relative_error,
        "angle": total.angle,
    }
