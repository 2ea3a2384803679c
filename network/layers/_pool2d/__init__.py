"""How max pooling is computed: ``table`` (little work: as few calls as possible), ``winners`` (windows apart), ``stages``."""
