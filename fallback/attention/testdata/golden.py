"""Writes golden.npz: attention in PyTorch, float64 rounded to float32, from seeded inputs. One command:

    python testdata/golden.py        (in fallback/attention; needs torch and numpy, versions are noted in golden.json)
"""
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

SEED = 10
torch.manual_seed(SEED)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
arrays = {}


def put(**named):
    """Keeps tensors; inputs are rounded to float32 first so that both sides compute with the same numbers."""
    for name, t in named.items():
        arrays[name] = t.detach().numpy().astype(np.float32) if t.is_floating_point() else t.numpy()


def rand(*shape):
    return torch.randn(*shape).float().double()


def attend(q, k, v, mask=None, bias=None, scale=None, gamma=None, scores=None):
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    s = q @ k.transpose(-1, -2) if scores is None else scores
    s = s * (scale or q.shape[-1] ** -0.5)
    if gamma is not None:
        s = s * gamma
    if bias is not None:
        s = s + bias
    if mask is not None:
        s = s.masked_fill(~mask, -math.inf)
    return s.softmax(-1).nan_to_num(0.0) @ v  # a row without keys is 0


T, S = 6, 11
q, k, v = rand(2, 4, T, 8), rand(2, 2, S, 8), rand(2, 2, S, 5)
put(q=q, k=k, v=v, dense=attend(q, k, v))
assert torch.allclose(attend(q, k, v), nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True))
mask = torch.rand(2, 1, T, S) < 0.5
mask[1, 0, 3] = False
put(mask=mask, masked=attend(q, k, v, mask))
bias = rand(4, T, S)
put(bias=bias, biased=attend(q, k, v, bias=bias, scale=0.3))
i, j = torch.arange(T)[:, None] + S - T, torch.arange(S)[None]
put(causal=attend(q, k, v, j <= i))

# Flamingo's media mask, as in open_flamingo's MaskedCrossAttention: rows before the first picture are zero.
text_time, media_time = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1] * 4 + [2] * 4 + [3] * 3)
put(media=attend(q, k, v, text_time[:, None] == media_time[None]))

# TACA: one softmax, the scores between modalities multiplied by gamma.
mq, mk = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0] * 5 + [1] * 6)
put(balanced=attend(q, k, v, gamma=torch.where(mq[:, None] != mk[None], 1.7, 1.0)))

# DeBERTa, equations 2 to 4, with k = 3; self-attention of 10 positions.
n, span = 10, 3
qs, ks, vs, kr, qr = rand(1, 2, n, 8), rand(1, 2, n, 8), rand(1, 2, n, 8), rand(2, 2 * span, 8), rand(2, 2 * span, 8)
i, j = torch.arange(n)[:, None], torch.arange(n)[None]
def delta(a, b): return (a - b + span).clamp(0, 2 * span - 1)
c2p = torch.einsum("bhid,hijd->bhij", qs, kr[:, delta(i, j)])
p2c = torch.einsum("bhjd,hijd->bhij", ks, qr[:, delta(j, i)])
scores = qs @ ks.transpose(-1, -2) + c2p + p2c
put(self_q=qs, self_k=ks, self_v=vs, kr=kr, qr=qr, disentangled=attend(qs, ks, vs, scores=scores, scale=1 / math.sqrt(3 * 8)))

# Sparse patterns, as masks.
n = 20
qn, kn, vn = rand(1, 2, n, 8), rand(1, 2, n, 8), rand(1, 2, n, 8)
i, j = torch.arange(n)[:, None], torch.arange(n)[None]
ends = torch.zeros(n, dtype=torch.bool)
ends[[0, 13]] = True
window = ((i - j).abs() <= 2) | ends[:, None] | ends[None]
strided = (j <= i) & ((i - j <= 4) | ((i - j) % 4 == 0))
blocks = ((i // 3 - j // 3).abs() <= 1) | (i // 3 < 1) | (j // 3 < 1)
top = (qn @ kn.transpose(-1, -2)).topk(5, -1).indices
put(sparse_q=qn, sparse_k=kn, sparse_v=vn, window=attend(qn, kn, vn, window), strided=attend(qn, kn, vn, strided),
    blocks=attend(qn, kn, vn, blocks), topk=attend(qn, kn, vn, torch.zeros(1, 2, n, n, dtype=torch.bool).scatter(-1, top, True)))

# Attention pooling through torch.nn.MultiheadAttention.
mha = nn.MultiheadAttention(12, 3, batch_first=True)
nn.init.normal_(mha.in_proj_bias)
nn.init.normal_(mha.out_proj.bias)
for p in mha.parameters():
    p.data = p.data.float().double()
probe, x = rand(2, 12), rand(3, 7, 12)
put(probe=probe, x=x, in_weight=mha.in_proj_weight, in_bias=mha.in_proj_bias, out_weight=mha.out_proj.weight, out_bias=mha.out_proj.bias,
    pooled=mha(probe.expand(3, -1, -1), x, x, need_weights=False)[0])

# Fusion: Flamingo's gate, the gated multimodal unit, concatenation.
a, b, gate = rand(3, 5), rand(3, 5), torch.tensor(0.7)
put(a=a, b=b, gated=a + gate.float().double().tanh() * b)
t = rand(3, 4)
wz, wv, wt = (nn.Linear(9, 6), nn.Linear(5, 6), nn.Linear(4, 6))
for layer in (wz, wv, wt):
    for p in layer.parameters():
        p.data = p.data.float().double()
z = torch.cat([a, t], -1)
zs = wz(z).sigmoid()
put(t=t, wz=wz.weight, bz=wz.bias, wv=wv.weight, bv=wv.bias, wt=wt.weight, bt=wt.bias, concat=wz(z),
    fused=zs * wv(a).tanh() + (1 - zs) * wt(t).tanh())

# Rollout of three layers.
maps = rand(3, 4, 6, 6).softmax(-1).float().double()
flow = torch.eye(6)
for m in maps.mean(1):
    m = 0.5 * m + 0.5 * torch.eye(6)
    flow = m / m.sum(-1, keepdim=True) @ flow
put(maps=maps, rollout=flow)

here = Path(__file__).parent
np.savez_compressed(here / "golden.npz", **arrays)
(here / "golden.json").write_text(json.dumps({"script": "fallback/attention/testdata/golden.py", "seed": SEED,
                                              "versions": {"torch": torch.__version__, "numpy": np.__version__}}, indent=2) + "\n")
