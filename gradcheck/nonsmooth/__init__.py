"""Points without a derivative: whether a claim is in Clarke's subdifferential, the convex hull of gradients very near."""
