"""What every family's golden files have in common: images, weights, cases, files."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Callable

import numpy as np
import PIL
import tokenizers
import torch
import transformers
from PIL import Image
from torch import nn
from transformers.pytorch_utils import Conv1D

SCRIPT = "python -m xpipe_export.golden"
ROWS = 3
NEW_TOKENS = 20
MIN_GAP = 2e-3
"""Greedy steps whose two best logits are nearer than this are not kept: another engine may swap
them."""
MAX_DIFF = 3e-5
"""Models that amplify rounding more than this leave an engine no room below 1e-4."""


def versions() -> dict:
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__, "pillow": PIL.__version__, "numpy": np.__version__,
            "image_backend": "PIL (slow image processors)"}


def make_images(folder: Path) -> list[Path]:
    """Three PNGs of different shapes: smooth colour fields with hard-edged figures, RGB, no
    metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, (w, h) in enumerate([(64, 48), (50, 71), (96, 96)]):
        rng = np.random.default_rng(100 + i)
        y, x = np.mgrid[0:h, 0:w].astype(np.float64)
        phase = rng.uniform(0, 6, 3)
        field = np.stack(
            [127 + 100 * np.sin(x / (9 + 4 * c) + phase[c]) * np.cos(y / (7 + 3 * c))
             for c in range(3)], -1)
        cx, cy, r = w * 0.4, h * 0.55, min(w, h) * 0.28
        field[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.integers(0, 256, 3)
        field[int(h * 0.1):int(h * 0.35), int(w * 0.6):int(w * 0.9)] = rng.integers(0, 256, 3)
        paths.append(folder / f"figure{i}.png")
        Image.fromarray(field.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def randomise(model: nn.Module, seed: int, gain: float = 1.0, embed: float = 1.0) -> None:
    """Seeded weights at which every part matters: no zero gates, biases or norms at their neutral
    start."""
    g = torch.Generator().manual_seed(seed)

    def normal(p: torch.Tensor, std: float, mean: float = 0.0) -> None:
        p.data.copy_(torch.randn(p.shape, generator=g) * std + mean)

    done: set[int] = set()
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p is None or id(p) in done:
                continue
            done.add(id(p))
            if name == "logit_scale" or name == "logit_bias":
                continue
            if "alpha" in name or "gate" in name and p.dim() <= 1:
                normal(p, 0.2, 0.7)
            elif isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and p.dim() >= 2:
                normal(p, gain / np.sqrt(p[0].numel()))
            elif isinstance(module, Conv1D) and p.dim() == 2:  # GPT-2's, stored [in,out]
                normal(p, gain / np.sqrt(len(p)))
            elif isinstance(module, nn.Embedding):
                normal(p, embed)
            elif name == "bias":
                normal(p, 0.1)
            elif name == "weight":  # norms
                normal(p, 0.1, 1.0)
            else:
                normal(p, 0.5)


def save_rounded(model: nn.Module, folder: Path) -> None:
    """Save with weights that float16 holds exactly: a bundle stored as fp16 then has the same
    outputs."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half())
    model.eval().save_pretrained(folder)


class Golden:
    """The golden.json and .npy files of one bundle."""

    def __init__(self, folder: Path, family: str, seed: int, **about):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = {"script": f"{SCRIPT} --only {folder.name}", "seed": seed,
                     "versions": versions(), "bundle": "bundle", "family": family, "arrays": {},
                     **about}

    def array(self, name: str, value) -> None:
        """Save value as name.npy, float32 or int64."""
        value = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        value = value.astype(np.int64 if np.issubdtype(value.dtype, np.integer) else np.float32)
        np.save(self.folder / f"{name}.npy", np.ascontiguousarray(value))
        self.data["arrays"][name] = {"file": f"{name}.npy", "shape": list(value.shape)}

    def shared(self, name: str, value: torch.Tensor, images: Path) -> None:
        """An array many families have in common: one file per content, beside the images."""
        value = np.ascontiguousarray(value.detach().numpy().astype(np.float32))
        file = f"{name}-{hashlib.sha256(value.tobytes()).hexdigest()[:8]}.npy"
        np.save(images / file, value)
        self.data["arrays"][name] = {"file": f"../{images.name}/{file}", "shape": list(value.shape)}

    def write(self) -> None:
        (self.folder / "golden.json").write_text(
            json.dumps(self.data, indent=1, ensure_ascii=False, default=_plain) + "\n")


def _plain(value):
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(type(value))


Generate = Callable[..., tuple[torch.Tensor, object]]
"""generate(rows, **parameters of transformers) -> new ids [B,T] without prompt or start token, the
ModelOutput"""


class Unsuitable(Exception):
    """This seed's weights give dull or ambiguous texts."""


def generations(golden: Golden, generate: Generate, decode: Callable[[list[int]], str],
                batch: bool = True, distinct: int = 7) -> None:
    """Greedy, stopping, and beam search texts of ROWS rows; raises Unsuitable.

    batch: all rows in one call must give what single calls give (left padding).
    """
    logits, greedy = [], []
    for row in range(ROWS):
        ids, out = generate([row], max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1,
                            output_logits=True, return_dict_in_generate=True)
        steps = torch.stack(out.logits)[:, 0]
        best = steps.topk(2).values
        gap = float((best[:, 0] - best[:, 1]).min())
        if ids.shape[1] < NEW_TOKENS or gap < MIN_GAP or len(set(ids[0].tolist())) < distinct:
            raise Unsuitable(f"row {row}: {ids[0].tolist()}, gap {gap:.2g}")
        logits.append(steps)
        greedy.append(ids[0].tolist())
    if len({tuple(g) for g in greedy}) < ROWS:
        raise Unsuitable("two rows give the same text")
    golden.array("logits", torch.stack(logits))
    if float(torch.stack(logits).abs().max()) > 40:
        raise RuntimeError("logits so large that 1e-4 is no fair limit")
    golden.data["greedy"] = {"max_new_tokens": NEW_TOKENS, "ids": greedy, "text": [decode(g) for g in greedy]}
    if batch:
        ids, out = generate(list(range(ROWS)), max_new_tokens=NEW_TOKENS, do_sample=False,
                            num_beams=1, output_logits=True, return_dict_in_generate=True)
        diff = float((torch.stack(out.logits, 1) - torch.stack(logits)).abs().max())
        if ids.tolist() != greedy or diff > 5e-5:
            raise RuntimeError(f"transformers' batch differs from its single rows by {diff}")
        golden.data["greedy"]["batch_max_abs_diff"] = diff

    stop = greedy[0][6]
    ids, _ = generate([0], max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1,
                      eos_token_id=stop, return_dict_in_generate=True)
    golden.data["stop"] = {"eos_token_id": stop, "max_new_tokens": NEW_TOKENS, "ids": ids[0].tolist()}

    free, _ = generate([0], max_new_tokens=12, do_sample=False, num_beams=3, num_return_sequences=3,
                       return_dict_in_generate=True, output_scores=True)
    counts = np.bincount(free[:, 2:10].flatten().numpy())
    eos = int(counts.argmax())
    beams = []
    for rows, parameters in [([0], {}), ([0], {"length_penalty": 0.0}),
                             ([0], {"length_penalty": -1.0}),
                             ([0], {"length_penalty": 2.0, "num_return_sequences": 3}),
                             ([0], {"early_stopping": True, "num_return_sequences": 3}),
                             ([0], {"early_stopping": "never", "length_penalty": 2.0}),
                             ([1], {"num_return_sequences": 2, "min_new_tokens": 6}),
                             (list(range(ROWS)) if batch else [2], {"num_return_sequences": 2})]:
        parameters = {"num_beams": 3, "max_new_tokens": 12, "eos_token_id": eos,
                      "length_penalty": 1.0, "early_stopping": False} | parameters
        ids, out = generate(rows, do_sample=False, return_dict_in_generate=True, output_scores=True, **parameters)
        beams.append({"rows": rows, "parameters": parameters, "ids": ids, "scores": out.sequences_scores})
    golden.data["beams"] = beams


def search(make: Callable[[int], None], first: int, tries: int = 60) -> int:
    """The first seed from `first` on that make accepts."""
    for seed in range(first, first + tries):
        try:
            make(seed)
            return seed
        except Unsuitable as e:
            reason = e
            if os.environ.get("GOLDEN_DEBUG"):
                print(seed, e)
    raise RuntimeError(f"no seed in {first}..{first + tries - 1} is suitable; the last: {reason}")
