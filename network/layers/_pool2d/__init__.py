"""How max pooling is computed: ``stages`` (rows, then columns), or ``table`` (little work: as few calls as possible)."""
