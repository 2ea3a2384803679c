"""Points without a derivative: which claims are valid there."""
