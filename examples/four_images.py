"""Train the article's network on its four images, right and wrong, and see that both learn."""

import numpy as np

from network import article


def main():
    images, labels = article.load_four_images()
    images = images / 16
    params = article.init_params(12747, scale=0.2)
    true = article.gradient(params, images, labels)
    for backward, description in article.BACKWARDS.items():
        trained = article.train(params, images, labels, learning_rate=0.01, momentum=0.9, epochs=200, backward=backward)
        gradient = article.gradient(params, images, labels, backward=backward)
        wrong = [name for name in true if not np.allclose(gradient[name], true[name])]
        predicted = article.predict(trained.params, images)
        print(f"{backward}: {description}")
        print(f"  cost {trained.costs[0]:.3f} -> {trained.costs[-1]:.6f}, predicts {predicted} for {labels}")
        print(f"  wrong gradients: {', '.join(wrong) or 'none'}")


if __name__ == "__main__":
    main()
