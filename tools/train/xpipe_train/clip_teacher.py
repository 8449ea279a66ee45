"""What clip-mini's two encoders are taught, in closed form from the frozen encoder's pooled feature
x = sqrt(pooled).

Drawings: canonical variates (Fisher; Rao 1948). x is whitened by the shrunk within-class
covariance, and kept are the leading directions in which class means differ. A class is compared by
the cosine of its mean there: on a style that was left out that is worth about as much as the linear
discriminant at top-1 and three points at top-5, and 144 directions do for 1,391 classes.

Photos: the encoder's own ImageNet classifier. Its logits are fitted linearly on x over cached
pictures and over synthetic ones, and cut to the leading directions of what they vary in; the
trainer then distils it into them.
"""
import numpy as np
import torch
from torch.nn import functional as F


def canonical(x: np.ndarray, y: np.ndarray, style: np.ndarray, classes: int, shrink: float, width: int):
    """x [n,d], y [n] class, style [n] -> (A [width,d], offset [width], means [classes,width], seen
    [classes]); a picture is A x + offset. Every style counts the same in a class's mean."""
    x0 = x.mean(0)
    x = x - x0
    means, drawn = np.zeros((classes, x.shape[1]), np.float32), np.zeros(classes, np.float32)
    for s in np.unique(style):
        rows = style == s
        total, count = np.zeros_like(means), np.zeros(classes, np.float32)
        np.add.at(total, y[rows], x[rows])
        np.add.at(count, y[rows], 1)
        means += total / np.maximum(count, 1)[:, None]
        drawn += count > 0
    means /= np.maximum(drawn, 1)[:, None]
    r = x - means[y]
    cov, d = (r.T @ r) / len(r), x.shape[1]
    values, u = np.linalg.eigh((1 - shrink) * cov + shrink * np.trace(cov) / d * np.eye(d, dtype=np.float32))
    whiten = u / np.sqrt(values)
    m = means @ whiten
    m -= m[drawn > 0].mean(0)
    _, v = np.linalg.eigh(m[drawn > 0].T @ m[drawn > 0])
    a = (whiten @ v[:, ::-1][:, :width]).T
    centre = means[drawn > 0].mean(0)
    return (a.astype(np.float32), (-a @ (x0 + centre)).astype(np.float32),
            (m @ v[:, ::-1][:, :width]).astype(np.float32), drawn > 0)


def synthetic(classifier: torch.nn.Linear, base: torch.Tensor, n: int) -> torch.Tensor:
    """n pooled features that the classifier takes for classes drawn at random: two pictures'
    features mixed, moved along the class's weight until it leads by a margin drawn from 0 to 10,
    and kept non-negative."""
    k = torch.randint(0, classifier.out_features, (n,))
    mix = torch.rand(n, 1)
    x = base[torch.randint(0, len(base), (n,))] * mix + base[torch.randint(0, len(base), (n,))] * (1 - mix)
    z = classifier(x)
    w = (classifier.weight - classifier.weight.mean(0))[k]
    step = (z.amax(1) - z[torch.arange(n), k] + torch.rand(n) * 10) / w.pow(2).sum(1)
    return (x + w * step[:, None]).clamp(min=0)


def classifier_plane(classifier: torch.nn.Linear, pooled: torch.Tensor, width: int):
    """pooled [n,d] -> (B [width,d], offset [width], u [classes,width]) with (B x + offset) u' about
    the classifier's logits, less what is common to all classes. The last two of width are a
    constant, which carries the biases, and a zero, in which the texts of weak classes put the rest
    of their length: so comparing by cosine changes no order."""
    constant = 3.0
    x = pooled.sqrt()
    mean = x.mean(0)
    x = x - mean
    y = classifier(pooled)
    y = y - y.mean(1, keepdim=True)
    bias = y.mean(0)
    g = x.T @ x
    g = (g + 3e-4 * g.trace() / len(g) * torch.eye(len(g))) / len(x)
    a = torch.linalg.solve(g, x.T @ (y - bias) / len(x))
    chol = torch.linalg.cholesky(g)
    u, s, vt = torch.linalg.svd(chol.T @ a, full_matrices=False)
    b = torch.linalg.solve_triangular(chol.T, u[:, :width - 2], upper=True).T
    rows = torch.cat([vt[:width - 2].T * s[:width - 2], (bias / constant)[:, None]], 1)
    longest = rows.norm(dim=1).quantile(0.9)
    rest = (longest ** 2 - rows.pow(2).sum(1)).clamp(min=1e-3).sqrt()
    zero = torch.zeros(2, b.shape[1])
    return (torch.cat([b, zero]), torch.cat([-b @ mean, torch.tensor([constant, 0.0])]),
            torch.cat([rows, rest[:, None]], 1))


# Words for many ImageNet classes at once, by class numbers.
FAMILIES = {
    "dog": [*range(151, 269)], "cat": [*range(281, 286)], "fish": [0, 1, *range(389, 398)],
    "shark": [2, 3, 4], "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "animal": [*range(0, 398)], "snake": [*range(52, 69)], "lizard": [*range(38, 49)],
    "turtle": [*range(33, 38)], "frog": [30, 31, 32], "spider": [*range(72, 78)],
    "insect": [*range(300, 327)], "butterfly": [*range(321, 327)], "beetle": [*range(300, 308)],
    "monkey": [*range(370, 383)], "bear": [*range(294, 298)],
    "fox": [*range(277, 281)], "wolf": [*range(269, 273)], "rabbit": [330, 331], "horse": [339],
    "cow": [345], "sheep": [348, 349], "elephant": [385, 386], "whale": [147, 148],
    "car": [436, 468, 511, 609, 627, 654, 656, 661, 751, 817],
    "truck": [555, 569, 675, 717, 864, 867], "bus": [779, 874, 654],
    "boat": [472, 484, 554, 576, 625, 814, 871, 914],
    "ship": [403, 510, 628, 724, 833], "train": [466, 547, 820], "airplane": [404, 895],
    "bicycle": [444, 671], "motorcycle": [665, 670], "fruit": [*range(948, 958)],
    "vegetable": [*range(936, 946)], "bread": [930, 931, 932], "guitar": [402, 546],
    "cup": [504, 968], "chair": [423, 559, 765], "hat": [439, 452, 515, 808],
    "shoe": [502, 514, 630, 770, 774], "clock": [409, 530, 531, 892], "telephone": [487, 528, 707],
    "flower": [985, 986], "ball": [429, 430, 522, 574, 722, 805, 852, 890], "boot": [514],
    "house": [449, 580, 663, 668], "bridge": [821, 839, 888], "dinosaur": [51],
    "computer": [527, 590, 620, 681], "bottle": [440, 720, 737, 898, 907], "knife": [499, 623],
    "mug": [504],
}
