"""Check the article's network stage by stage: its second pool turns the upstream, and the report says so."""

import numpy as np

from gradcheck import check_chain
from network import article

rng = np.random.default_rng(0)
params = article.init_params(2, hidden=(5, 6), scale=0.2)
images, labels = rng.random((2, 8, 8)), np.array([0.0, 1.0])

for backward in ("right", "rotate-upstream"):
    stages = article.stages(params, labels, backward=backward, layers=(2,), ties="first")
    print(f"{backward}: {article.BACKWARDS[backward]}\n")
    report = check_chain(stages, images)
    print(f"{report}\n\nwrong stage: {report.stage}\n")
