"""The article's network: data, model, its right gradient and ten wrong ones, and training sample by sample."""

from network.article.backward import gradient
from network.article.data import draw, init_params, load_digits01, load_four_images
from network.article.model import forward
from network.article.stages import stages
from network.article.training import train
from network.article.values import loss, predict
from network.article.variants import BACKWARDS

__all__ = [
    "BACKWARDS",
    "draw",
    "forward",
    "gradient",
    "init_params",
    "load_digits01",
    "load_four_images",
    "loss",
    "predict",
    "stages",
    "train",
]
