"""Techniques that any family's training can switch on: each is a few lines, named in the config,
and off unless named.

What depends on a family's shape (dropout, augmented views, fusion, the balance between modalities)
is that family's own.
"""
from functools import partial

import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint


def uniform_attention(model: nn.Module, endings: list[str]) -> int:
    """Sets the linear layers whose names end so to zero. Given the query projections of an
    attention, it starts out uniform: a query of zero likes every key equally. The keys stay as they
    are, or no gradient would ever reach either."""
    found = [m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.endswith(tuple(endings))]
    if not found:
        raise ValueError(f"uniform_attention: no linear layer's name ends in {endings}")
    for m in found:
        nn.init.zeros_(m.weight)
        if m.bias is not None:
            nn.init.zeros_(m.bias)
    return len(found)


def recomputed(model: nn.Module, names: list[str]) -> None:
    """Gradient checkpointing: the named modules (of a ModuleList, each of its modules) keep no
    activations for the way back but compute them again. Not for layers that write to a cache: they
    would write twice."""
    for name in names:
        module = model.get_submodule(name)
        for m in module if isinstance(module, nn.ModuleList) else [module]:
            m.forward = partial(checkpoint, m.forward, use_reentrant=False)


def prunable(model: nn.Module, components: list[str]) -> list[nn.Linear]:
    """The linear layers of the named components, but for those whose weight is another module's
    too."""
    owners: dict[int, int] = {}
    for m in model.modules():
        for p in m._parameters.values():
            if p is not None:
                owners[id(p)] = owners.get(id(p), 0) + 1
    return [m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[0] in components
            and owners.get(id(m._parameters.get("weight")), 1) == 1]


def pruned(model: nn.Module, components: list[str], amount: float) -> None:
    """Magnitude pruning (Han et al. 1506.02626): the smallest `amount` of each layer's weights is
    zero from here on; what is left goes on training under the mask."""
    for m in prunable(model, components):
        prune.l1_unstructured(m, "weight", amount)


def unpruned(model: nn.Module) -> None:
    """Makes the masks permanent: plain weights again, the pruned ones zero."""
    for m in model.modules():
        if isinstance(m, nn.Linear) and prune.is_pruned(m):
            prune.remove(m, "weight")


class AttentionPool(nn.Module):
    """tokens [B,N,D] -> [B,n,D]: n learned probes attend to them (Set Transformer's PMA,
    1810.00825)."""

    def __init__(self, width: int, heads: int, probes: int):
        super().__init__()
        self.probes = nn.Parameter(torch.randn(1, probes, width) * 0.5)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens):
        return self.attention(self.probes.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)[0]


class GatedFusion(nn.Module):
    """a, b [...,D] -> z*a + (1-z)*b, z = sigmoid(W[a;b]) (the gate of GMU, 1702.01992). It starts
    at z = sigmoid(open): nearly all a for a large one."""

    def __init__(self, width: int, open: float = 0.0):
        super().__init__()
        self.gate = nn.Linear(2 * width, width)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, open)

    def forward(self, a, b):
        z = torch.sigmoid(self.gate(torch.cat([a, b], -1)))
        return z * a + (1 - z) * b
