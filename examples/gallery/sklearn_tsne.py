"""`TSNE` with three or more components: the gradient is not that of its objective.

The similarities of the embedding are a Student t with `n_components - 1` degrees of freedom `v`. The gradient multiplies by
`(1 + d²/v) ** (-(v + 1) / 2)`; it has to be `(1 + d²/v) ** -1`, whatever `v`. The two are equal for `v = 1`, two components, the
usual case, which is right. `method="barnes_hut"` has the same factor. The density itself was corrected in 2017
([#9711](https://github.com/scikit-learn/scikit-learn/issues/9711), [#9712](https://github.com/scikit-learn/scikit-learn/pull/9712)).
"""

import numpy as np
from scipy.optimize import minimize
from sklearn.manifold import TSNE
from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence
from sklearn.metrics import pairwise_distances

from gradcheck import check_gradient

RELEASE = "scikit-learn 1.9.1"


POINTS = np.random.default_rng(0).normal(size=(20, 6))
NEAR = _joint_probabilities(pairwise_distances(POINTS, squared=True), 5.0, 0)


def divergence_and_gradient(embedding):
    """Return scikit-learn's objective of an embedding of the points, and its gradient."""
    value, gradient = _kl_divergence(embedding.ravel(), NEAR, embedding.shape[1] - 1, *embedding.shape)
    return value, gradient.reshape(embedding.shape)


def check(components=3):
    """Check the gradient at a random embedding."""
    return check_gradient(divergence_and_gradient, True, np.random.default_rng(1).normal(size=(20, components)))


def ends(components):
    """Return the divergence where `TSNE` ends, and where a search by differences ends that goes on from there."""
    tsne = TSNE(components, perplexity=5.0, method="exact", init="random", random_state=0, max_iter=2000).fit(POINTS)

    def objective(flat):
        return divergence_and_gradient(flat.reshape(20, components))[0]

    better = minimize(objective, tsne.embedding_.ravel().astype(float), options={"maxiter": 300})
    return f"{tsne.kl_divergence_:.4f}, and {better.fun:.4f} when a search by differences goes on from there"


def consequence():
    """Compare two components with three."""
    return f"TSNE ends at a divergence of: 2 components {ends(2)}; 3 components {ends(3)}"


if __name__ == "__main__":
    print(check())
    print(consequence())
