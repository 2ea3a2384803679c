"""statsmodels: `loglike`, `score` and `hessian` of models with several parametrisations, away from the optimum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import statsmodels.api as sm
from statsmodels.discrete import conditional_models, count_model, discrete_model, truncated_model
from statsmodels.miscmodels.count import PoissonGMLE
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.othermod.betareg import BetaModel

from gradcheck import Report, check_gradient, check_jacobian

OBSERVATIONS = 80

rng = np.random.default_rng(0)
X = sm.add_constant(rng.normal(size=(OBSERVATIONS, 2)))
LINEAR = X @ [0.6, 0.4, -0.3]
COUNTS = rng.negative_binomial(2.0, 2 / (2 + np.exp(LINEAR)))
NUMBERS = LINEAR + rng.normal(size=OBSERVATIONS)
YES = (NUMBERS > 0).astype(float)
SHARES = rng.beta(2, 3, size=OBSERVATIONS)
ONES = np.ones((OBSERVATIONS, 1))
POSITIVE = COUNTS > 0
GROUPS = np.arange(OBSERVATIONS) // 8


def _as_after_fit(kind: str) -> Any:
    """Return a negative binomial model whose score is by alpha, as its Hessian is: before `fit` it is by log(alpha)."""
    model = sm.NegativeBinomial(COUNTS, X, loglike_method=kind)
    model._transparams = False  # noqa: SLF001 - what `fit` leaves behind
    return model


B = [0.4, 0.3, -0.2]
"""Coefficients of the mean: near those that made the data, and not the optimum."""

Model = Callable[[], Any]

# Name -> model and point.
MODELS: dict[str, tuple[Model, list[float]]] = {
    "OLS": (lambda: sm.OLS(NUMBERS, X), B),
    "Logit": (lambda: sm.Logit(YES, X), B),
    "Probit": (lambda: sm.Probit(YES, X), B),
    "MNLogit": (lambda: sm.MNLogit(np.digitize(NUMBERS, [0, 1]), X), [*B, 0.1, -0.3, 0.2]),
    "Poisson": (lambda: sm.Poisson(COUNTS, X), B),
    "Poisson-exposure": (lambda: sm.Poisson(COUNTS, X, exposure=1 + X[:, 1] ** 2, offset=0.1 * X[:, 2]), B),
    "BetaModel": (lambda: BetaModel(SHARES, X), [*B, 0.5]),
    "BetaModel-precision": (lambda: BetaModel(SHARES, X, exog_precision=X[:, :2]), [*B, 0.5, 0.2]),
    "PHReg-breslow": (lambda: sm.PHReg(np.exp(NUMBERS), X[:, 1:], status=YES, ties="breslow"), B[1:]),
    "PHReg-efron": (lambda: sm.PHReg(np.round(np.exp(NUMBERS), 0), X[:, 1:], status=YES, ties="efron"), B[1:]),
    "PHReg-strata": (lambda: sm.PHReg(np.exp(NUMBERS), X[:, 1:], status=YES, strata=GROUPS), B[1:]),
    "ConditionalLogit": (lambda: conditional_models.ConditionalLogit(YES, X[:, 1:], groups=GROUPS), B[1:]),
    "ConditionalPoisson": (lambda: conditional_models.ConditionalPoisson(COUNTS, X[:, 1:], groups=GROUPS), B[1:]),
    "OrderedModel-probit": (lambda: OrderedModel(np.digitize(NUMBERS, [0, 1]), X[:, 1:], distr="probit"), [0.3, -0.2, -0.4, 0.1]),
    "OrderedModel-logit": (lambda: OrderedModel(np.digitize(NUMBERS, [0, 1]), X[:, 1:], distr="logit"), [0.3, -0.2, -0.4, 0.1]),
    "PoissonGMLE": (lambda: PoissonGMLE(COUNTS, X), B),
    **{
        f"NegativeBinomial-{kind}": (lambda kind=kind: sm.NegativeBinomial(COUNTS, X, loglike_method=kind), point)
        for kind, point in (("nb1", [*B, 0.5]), ("nb2", [*B, 0.5]), ("geometric", B))
    },
    **{
        f"{name}-{p}": (lambda name=name, p=p: getattr(discrete_model, name)(COUNTS, X, p=p), [*B, 0.4])
        for name in ("NegativeBinomialP", "GeneralizedPoisson")
        for p in (1, 1.5, 2)
    },
    **{
        f"{name}-{link}": (lambda name=name, link=link: getattr(count_model, name)(COUNTS, X, exog_infl=X[:, :2], inflation=link), [-0.6, 0.2, *B, *more])
        for name, more in (("ZeroInflatedPoisson", []), ("ZeroInflatedGeneralizedPoisson", [0.4]), ("ZeroInflatedNegativeBinomialP", [0.4]))
        for link in ("logit", "probit")
    },
    "TruncatedLFPoisson": (lambda: truncated_model.TruncatedLFPoisson(COUNTS[POSITIVE], X[POSITIVE]), B),
    **{
        f"{name}-{p}": (lambda name=name, p=p: getattr(truncated_model, name)(COUNTS[POSITIVE], X[POSITIVE], p=p), [*B, 0.4])
        for name in ("TruncatedLFNegativeBinomialP", "TruncatedLFGeneralizedPoisson")
        for p in (1, 2)
    },
    "HurdleCountModel": (lambda: truncated_model.HurdleCountModel(COUNTS, X, dist="poisson", zerodist="poisson"), [*B, 0.2, 0.1, -0.1]),
    **{
        f"GLM-{family}": (lambda family=family, y=y: sm.GLM(y, X, family=getattr(sm.families, family)()), B)
        for family, y in (("Gaussian", NUMBERS), ("Poisson", COUNTS), ("Binomial", YES), ("Tweedie", COUNTS + 0.1))
    },
    "GLM-Gamma-log": (lambda: sm.GLM(COUNTS + 0.5, X, family=sm.families.Gamma(sm.families.links.Log())), B),
    "GLM-InverseGaussian-log": (lambda: sm.GLM(COUNTS + 0.5, X, family=sm.families.InverseGaussian(sm.families.links.Log())), B),
    "GLM-NegativeBinomial": (lambda: sm.GLM(COUNTS, X, family=sm.families.NegativeBinomial(alpha=0.5)), B),
    "GLM-Binomial-cloglog": (lambda: sm.GLM(YES, X, family=sm.families.Binomial(sm.families.links.CLogLog())), B),
    "GLM-Binomial-probit": (lambda: sm.GLM(YES, X, family=sm.families.Binomial(sm.families.links.Probit())), B),
}  # fmt: skip

for kind in ("nb1", "nb2"):
    MODELS[f"NegativeBinomial-{kind}-fitted"] = (partial(_as_after_fit, kind), [*B, 0.5])

DERIVATIVES = {"score": "loglike", "score_obs": "loglikeobs", "hessian": "score"}
"""Derivative -> what it is the derivative of; a Hessian is compared with the score, itself checked."""


def cases() -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield a name and a check of every derivative that a model has."""
    for name, (model, point) in MODELS.items():
        for derivative, value in DERIVATIVES.items():
            if hasattr(model(), derivative) and hasattr(model(), value):
                yield f"{name}.{derivative}", partial(_check, model, derivative, np.array(point))


def _check(model: Model, derivative: str, point: np.ndarray) -> Report:
    built = model()
    # The scale of a GLM is another parameter: by default it is estimated anew at each point, and not differentiated.
    fixed = {"scale": 1.0} if isinstance(built, sm.GLM) else {}
    f, claim = (partial(getattr(built, name), **fixed) for name in (DERIVATIVES[derivative], derivative))
    if derivative == "score":
        return check_gradient(f, claim, point)
    return check_jacobian(f, claim, point)
