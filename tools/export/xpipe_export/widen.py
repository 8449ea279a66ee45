"""Checkpoints in half precision as float32 on disk, where they can be mapped: converted in memory
they would stay there whole, twice as large as their files."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import torch
from safetensors import safe_open

from . import memory
from .checkpoint import link_files, safetensors_header, weight_files

HALVES = ("F16", "BF16")
"""What safetensors calls them."""

PIECE = 4 << 20
"""Elements that are converted at once."""


@contextmanager
def widened(path: Path, beside: Path) -> Iterator[Path]:
    """A directory with path's weights as float32, while entered: path itself, or links to its files and
    converted ones in a directory beside a place. What is small, or no safetensors, stays as it is."""
    files = [f for f in weight_files(path) if f.suffix == ".safetensors"]
    halves = [f for f in files if any(t["dtype"] in HALVES for t in safetensors_header(f).values())]
    if sum(f.stat().st_size for f in halves) <= memory.STEP:
        yield path
        return
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".xpipe-export-", dir=beside) as place:
        link_files(path, Path(place))
        for file in halves:
            target = Path(place) / file.relative_to(path)
            target.unlink()
            _convert(file, target)
        yield Path(place)


def _convert(source: Path, target: Path) -> None:
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, t in safetensors_header(source).items():
        start, kind = end, "F32" if t["dtype"] in HALVES else t["dtype"]
        end += 4 * math.prod(t["shape"]) if kind == "F32" else t["data_offsets"][1] - t["data_offsets"][0]
        header[name] = {"dtype": kind, "shape": t["shape"], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    drop = memory.Dropper([source])
    with safe_open(source, "pt") as given, open(target, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name in list(header)[1:]:
            values = given.get_tensor(name).reshape(-1)
            for piece in values.split(PIECE):
                wide = piece.float() if piece.dtype in (torch.float16, torch.bfloat16) else piece
                out.write(wide.view(torch.uint8).numpy())
                drop()
