"""Concept words from the frozen encoder: a linear discriminant over its pooled feature.

The 1,000 ImageNet names come from the encoder's own classifier. The emoji names come from a linear
discriminant analysis (Fisher; shared within-class covariance, shrunk) fitted in closed form on the cached
views of the training styles. While the language model is trained, each picture gets the words of a head that
has not seen its style: it learns to trust the words as far as they hold on a style nobody trained on.
"""
import numpy as np


class Discriminant:
    """Fits W [classes, 1280] and b so that softmax(x W' + b) are class posteriors."""

    def __init__(self, shrink=0.3, prior=1.0):
        self.shrink, self.prior = shrink, prior

    def fit(self, x: np.ndarray, y: np.ndarray, style: np.ndarray, classes: int):
        """x [n,1280] features, y [n] class, style [n] style number."""
        self.classes, self.styles = classes, int(style.max()) + 1
        d = x.shape[1]
        self.total = x.mean(0, dtype=np.float64).astype(np.float32)
        x = x - self.total
        # class means per style, so that a style can be left out without a second pass
        self.sums = np.zeros((self.styles, classes, d), np.float32)
        self.counts = np.zeros((self.styles, classes), np.float32)
        np.add.at(self.sums, (style, y), x)
        np.add.at(self.counts, (style, y), 1)
        means = self.sums.sum(0) / np.maximum(self.counts.sum(0), 1)[:, None]
        r = x - means[y]
        cov = (r.T @ r) / len(x)
        self.inverse = np.linalg.inv((1 - self.shrink) * cov + self.shrink * np.trace(cov) / d * np.eye(d, dtype=np.float32))
        return self

    def weights(self, without: int | None = None):
        """(W, b), the means of style `without` left out; a class drawn in no other style gets b = -1e4."""
        keep = [s for s in range(self.styles) if s != without]
        # every style counts the same: a style with more variants of a concept does not outvote the others
        have = self.counts[keep] > 0
        per_style = self.sums[keep] / np.maximum(self.counts[keep], 1)[..., None]
        n = have.sum(0)
        means = per_style.sum(0) / np.maximum(n, 1)[:, None]
        w = means @ self.inverse
        b = -0.5 * (w * means).sum(1) - w @ self.total
        return w.astype(np.float32), np.where(n > 0, b, -1e4).astype(np.float32)
