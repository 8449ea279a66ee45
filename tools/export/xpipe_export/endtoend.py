"""A written bundle against the checkpoint's own `generate`, from pixels and ids to logits.

Each graph is compared with its torch wrapper when it is written; a wrapper that is wrong itself (a
mask, a start token, a width) passes that. This compares what no wrapper had a part in.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .families.causal import sliding_window
from .families.common import Front
from .graph import ExportError
from .replay import Replay, generate

STEPS = 8
"""How many tokens are generated; more where a sliding window would not be left else."""

LIMITS = {"fp32": 1e-3, "fp16": 0.1}
"""Largest difference of a logit, of the logits' range, by how weights are stored. What int8 costs
is reported and not judged: it depends on the processor."""

TEXT = "a photo of a cat"


class Reference(NamedTuple):
    """What the checkpoint's model answered, and to what."""

    row: dict
    """input_ids and qformer_input_ids of the text, without image placeholders."""
    pixels: np.ndarray
    """[1,3,H,W]"""
    ids: np.ndarray
    """[1,T], generated"""
    logits: np.ndarray
    """[1,T,V]"""


def reference(model: torch.nn.Module, front: Front) -> Reference | None:
    """Ask the model as transformers loads it, before any part is replaced; None for a model that
    writes no text, or whose prompt holds pictures between texts (IDEFICS is compared by itself)."""
    kind = type(model).__name__
    if not kind.startswith(("Blip", "InstructBlip", "VisionEncoderDecoder")) or kind.endswith("Retrieval"):
        return None
    generator = np.random.default_rng(0)
    size = (model.config.encoder if hasattr(model.config, "encoder") else model.config.vision_config).image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    picture = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = torch.as_tensor(np.asarray(front.images(images=[picture], return_tensors="np")["pixel_values"]))
    given, row = {"pixel_values": pixels}, {"input_ids": []}
    if kind != "VisionEncoderDecoderModel":
        row["input_ids"] = front.tokenizer(TEXT).input_ids
        ids = torch.tensor([row["input_ids"]])
        if kind.startswith(("Blip2", "InstructBlip")):
            image = model.config.image_token_index
            if image is None:  # transformers cannot place the picture in ids then
                return None
            ids = torch.cat([torch.full((1, model.config.num_query_tokens), image), ids], 1)
        if front.qformer:
            row["qformer_input_ids"] = front.qformer(TEXT).input_ids
            given["qformer_input_ids"] = torch.tensor([row["qformer_input_ids"]])
            given["qformer_attention_mask"] = torch.ones_like(given["qformer_input_ids"])
        given |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        out = model.generate(**given, max_new_tokens=_steps(model), min_new_tokens=2, do_sample=False,
                             num_beams=1, output_logits=True, return_dict_in_generate=True)
    logits = torch.stack(out.logits, 1).float().numpy()
    return Reference(row, pixels.float().numpy(), out.sequences[:, -logits.shape[1]:].numpy(), logits)


def _steps(model: torch.nn.Module) -> int:
    lm = getattr(model, "language_model", None)
    window = sliding_window(lm.config) if lm is not None and not lm.config.is_encoder_decoder else None
    return STEPS + window if window and window <= 64 else STEPS


def check(folder: Path, want: Reference, dtype: str) -> dict:
    """Compare the bundle in folder with want; what provenance says about it. Raises ExportError."""
    bundle = Replay(folder)
    steps = want.logits.shape[1]
    _, got = generate(bundle, {"rows": [want.row]}, {"pixel_values": want.pixels}, [0], steps, forced=want.ids)
    width = min(got.shape[-1], want.logits.shape[-1])
    diff = float(np.abs(got[..., :width] - want.logits[..., :width]).max())
    relative = diff / max(1.0, float(np.abs(want.logits).max()))
    if not relative <= LIMITS.get(dtype, float("inf")):  # NaN fails
        raise ExportError(f"the exported pipeline differs from the checkpoint's own generate by {diff:.3g} in a "
                          f"logit ({relative:.2g} of their range) within {steps} tokens: this kind of model is "
                          "not supported")
    return {"tokens": steps, "max_abs_diff": diff, "max_rel_diff": relative}
