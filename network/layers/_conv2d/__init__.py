"""Algorithms of convolution, one module each, and which of them is used.

``one_product`` (little work: as few calls as possible), ``whole_layer`` (small images in batches), ``winograd`` (many
channels) and ``im2col`` (everything else, and every geometry). The last three have one signature, see `dispatch`.
"""
