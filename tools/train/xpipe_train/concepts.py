"""Concept words from the frozen encoder: a linear discriminant over its pooled feature.

The 1,000 ImageNet names come from the encoder's own classifier. The emoji names come from a linear
discriminant analysis (Fisher; shared within-class covariance, shrunk) fitted in closed form on the
cached views of the training styles. While the language model is trained, each picture gets the
words of a head that has not seen its style: it learns to trust the words as far as they hold on a
style nobody trained on.

The discriminant names every picture as a drawing; of a photo its names are noise. Where PhotoGate
says photo, the classifier's names take their place.
"""
import numpy as np
import torch
from torch.nn import functional as F


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
        even = self.shrink * np.trace(cov) / d * np.eye(d, dtype=np.float32)
        self.inverse = np.linalg.inv((1 - self.shrink) * cov + even)
        return self

    def weights(self, without: int | None = None):
        """(W, b), the means of style `without` left out; a class drawn in no other style gets b =
        -1e4."""
        keep = [s for s in range(self.styles) if s != without]
        # every style counts the same: a style with more variants of a concept does not outvote the
        # others
        have = self.counts[keep] > 0
        per_style = self.sums[keep] / np.maximum(self.counts[keep], 1)[..., None]
        n = have.sum(0)
        means = per_style.sum(0) / np.maximum(n, 1)[:, None]
        w = means @ self.inverse
        b = -0.5 * (w * means).sum(1) - w @ self.total
        return w.astype(np.float32), np.where(n > 0, b, -1e4).astype(np.float32)


class PhotoGate:
    """Drawing or photo: a logistic regression on the square roots of the pooled feature. Its
    threshold lets 1 drawing in 200 pass for a photo, counted on drawings that were left out of the
    fit, a style at a time."""

    def __init__(self, decay=1e-3, mistaken=0.005):
        # of the squared weights over standardised features; share of drawings
        self.decay, self.mistaken = decay, mistaken

    def fit(self, x: np.ndarray, photo: np.ndarray, fold: np.ndarray):
        """x [n,1280] square roots, photo [n] 1 where it is one, fold [n]: what is left out
        together, -1 for what never is."""
        x, photo, fold = torch.as_tensor(x), torch.as_tensor(photo).float(), torch.as_tensor(fold)
        said = torch.full_like(photo, float("nan"))
        for k in sorted(set(fold.tolist()) - {-1}):
            out = fold == k
            w, b = self._fit(x[~out], photo[~out])
            said[out] = x[out] @ w + b
        known = ~said.isnan()
        threshold = said[known & (photo == 0)].quantile(1 - self.mistaken)
        self.weight, self.bias = self._fit(x, photo)
        self.bias = self.bias - threshold
        self.found = float((said[known & (photo == 1)] > threshold).float().mean())  # of photos left out
        return self

    def _fit(self, x, y):
        """(w [1280], b) on x itself; both classes weigh the same."""
        mean, std = x.mean(0), x.std(0).clamp(min=1e-3)
        z = (x - mean) / std
        w, b = torch.zeros(x.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
        weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
        optimiser = torch.optim.LBFGS([w, b], max_iter=200, line_search_fn="strong_wolfe")

        def loss():
            optimiser.zero_grad()
            value = F.binary_cross_entropy_with_logits(z @ w + b, y, weight) + self.decay * w.square().sum()
            value.backward()
            return value
        optimiser.step(loss)
        with torch.no_grad():
            return w / std, b - (w / std) @ mean
