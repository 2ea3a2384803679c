"""SciPy: densities against distribution functions, and functions of `special` that come with their derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy import special, stats
from scipy.stats._distr_params import distcont

from gradcheck import Report, check_gradient

Function = Callable[[np.ndarray], np.ndarray]

POINTS = np.array([0.3, 0.8, 1.9, 4.2])

SLOW = {"kstwo", "ksone", "kstwobign", "levy_stable", "studentized_range", "genhyperbolic", "norminvgauss", "vonmises"}
"""Distributions whose values are numerical integrals or series: a second each, or noise."""

# Name -> value and derivative, of one variable.
PAIRS: dict[str, tuple[Function, Function]] = {
    **{
        f"{name}v({order})": (partial(getattr(special, f"{name}v"), order), partial(getattr(special, f"{name}vp"), order))
        for name in "jyki"
        for order in (0, 2, 0.5)
    },
    **{
        f"{name}({order})": (
            partial(getattr(special, name), order),
            partial(getattr(special, name), order, derivative=True),
        )
        for name in ("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn")
        for order in (0, 2)
    },
    **{name: (getattr(special, name), getattr(special, f"{name}p")) for name in ("ber", "bei", "ker", "kei")},
    **{
        f"polygamma({n})": (partial(special.polygamma, n), partial(special.polygamma, n + 1)) for n in (0, 1, 4)
    },
    "gammaln": (special.gammaln, special.digamma),
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "ndtr": (special.ndtr, lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)),
    "dawsn": (special.dawsn, lambda x: 1 - 2 * x * special.dawsn(x)),
    "spence": (special.spence, lambda x: np.log(x) / (1 - x)),
    "exp1": (special.exp1, lambda x: -np.exp(-x) / x),
    "airy": (lambda x: special.airy(x)[0], lambda x: special.airy(x)[1]),
    "airy-b": (lambda x: special.airy(x)[2], lambda x: special.airy(x)[3]),
}  # fmt: skip

# Functions that return the value and its derivative, and whatever comes before the argument.
DOUBLES = {
    "mathieu_cem": (2, 1.5), "mathieu_sem": (2, 1.5), "mathieu_modcem1": (2, 1.5), "mathieu_modcem2": (2, 1.5),
    "mathieu_modsem1": (2, 1.5), "mathieu_modsem2": (2, 1.5), "pbdv": (1.5,), "pbvv": (1.5,), "pbwa": (1.5,),
    "obl_ang1": (1, 2, 1.0), "pro_ang1": (1, 2, 1.0), "obl_rad1": (1, 2, 1.0), "obl_rad2": (1, 2, 1.0),
    "pro_rad1": (1, 2, 1.0), "pro_rad2": (1, 2, 1.0),
}  # fmt: skip


def cases() -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield a name and a check of everything."""
    for name, (value, derivative) in PAIRS.items():
        yield f"special.{name}", partial(_elementwise, value, derivative, POINTS)
    for name, before in DOUBLES.items():
        function = partial(getattr(special, name), *before)
        points = np.array([1.2, 1.7, 2.6]) if "pro_rad" in name else POINTS[:2]
        yield (
            f"special.{name}",
            partial(_elementwise, lambda x, f=function: f(x)[0], lambda x, f=function: f(x)[1], points),
        )
    for name, shapes in distcont:
        if isinstance(name, str) and name not in SLOW:
            frozen = getattr(stats, name)(*shapes)
            yield f"stats.{name}.pdf", partial(_distribution, frozen)


def _elementwise(value: Function, derivative: Function, points: np.ndarray) -> Report:
    return check_gradient(lambda x: float(np.sum(value(x))), derivative, points)


def _distribution(frozen: stats.rv_continuous) -> Report:
    return _elementwise(frozen.cdf, frozen.pdf, np.asarray(frozen.ppf([0.17, 0.41, 0.83])))
