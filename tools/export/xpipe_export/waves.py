"""Tables of positions that are sine waves, computed in the graph instead of stored.

Whisper's encoder adds such a table (`sinusoids` of openai-whisper 20250625, model.py): a sixth of a
small model that is stored in 4 bits.
"""

from __future__ import annotations

import math

import torch
from onnx import NodeProto, helper

TOLERANCE = 1e-3
"""How far a stored table may be from the waves: it was float16 once."""

SMALLEST = 1 << 16
"""Elements of a table that is worth it."""


def parts(rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [rows,1] and the angle a step [1,width/2] of each wave."""
    step = math.log(10000) / (width // 2 - 1)
    return torch.arange(rows).float()[:, None], torch.exp(-step * torch.arange(width // 2))[None]


def table(rows: int, width: int) -> torch.Tensor:
    """[rows,width]: sines, then cosines."""
    places, rates = parts(rows, width)
    return torch.cat([(places * rates).sin(), (places * rates).cos()], 1)


def made_of(w: torch.Tensor) -> bool:
    """Whether a weight is such a table."""
    if w.dim() != 2 or w.dtype != torch.float32 or w.numel() < SMALLEST or w.shape[1] % 2:
        return False
    return bool((w - table(*w.shape)).abs().max() < TOLERANCE)


def nodes(name: str) -> list[NodeProto]:
    """What computes the table `name` from the two tensors that `stored` gives."""
    angle, sine, cosine = (f"{name}.{part}" for part in ("angle", "sin", "cos"))
    return [helper.make_node("Mul", [f"{name}.places", f"{name}.rates"], [angle]),
            helper.make_node("Sin", [angle], [sine]), helper.make_node("Cos", [angle], [cosine]),
            helper.make_node("Concat", [sine, cosine], [name], axis=1)]


def stored(name: str, w: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a table is written as, by name."""
    places, rates = parts(*w.shape)
    return [(f"{name}.places", places), (f"{name}.rates", rates)]
