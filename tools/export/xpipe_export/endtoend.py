"""A written bundle against the checkpoint's own `generate` and `forward`, from pixels and ids to
logits.

Each graph is compared with its torch wrapper when it is written; a wrapper that is wrong itself (a
mask, a start token, a width) passes that. This compares what no wrapper had a part in. It also
tells what few bits cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import IdeficsProcessor

from . import scores
from .families.causal import windows
from .families.common import Front
from .graph import ExportError
from .replay import Replay, generate, generate_flamingo

STEPS = 8
"""How many tokens are generated; more where a sliding window would not be left else."""

LIMITS = {"fp32": 1e-3, "fp16": 0.1}
"""Largest difference of a logit, of the logits' range, by how weights are stored. What int8 and int4
cost is reported and not judged: how much is too much depends on the task."""

TEXTS = ["a photo of a cat", "two dogs, and a boat"]


class Reference(NamedTuple):
    """What the checkpoint's model answered, and to what."""

    replay: Callable[[Replay], np.ndarray]
    """What a bundle answers to the same."""
    want: np.ndarray
    """Logits [1,T,V] of generated tokens, or scores [N,M]."""
    what: str
    """The method that gave them."""


def reference(model: torch.nn.Module, front: Front) -> Reference | None:
    """Ask the model as transformers loads it, before any part is replaced; None for a model that is
    not asked here."""
    kind = type(model).__name__
    with torch.no_grad():
        if kind.startswith("Lxmert"):
            return _regions(model, front)
        if kind in ("CLIPModel", "SiglipModel"):
            return _pairs(model, front)
        if kind.endswith("ForImageTextRetrieval"):
            return _matches(model, front)
        if kind.startswith("Idefics"):
            return _interleaved(model, front) if kind == "IdeficsForVisionText2Text" else None
        if kind.startswith(("Blip", "InstructBlip", "VisionEncoderDecoder")):
            return _written(model, front)
    return None


def _written(model: torch.nn.Module, front: Front) -> Reference | None:
    kind = type(model).__name__
    pixels = _pixels(model, front, 1)
    given, row = {"pixel_values": pixels}, {"input_ids": []}
    if kind != "VisionEncoderDecoderModel":
        row["input_ids"] = front.tokenizer(TEXTS[0]).input_ids
        ids = torch.tensor([row["input_ids"]])
        if kind.startswith(("Blip2", "InstructBlip")):
            image = model.config.image_token_index
            if image is None:  # transformers cannot place the picture in ids then
                return None
            ids = torch.cat([torch.full((1, model.config.num_query_tokens), image), ids], 1)
        if front.qformer:
            row["qformer_input_ids"] = front.qformer(TEXTS[0]).input_ids
            given["qformer_input_ids"] = torch.tensor([row["qformer_input_ids"]])
            given["qformer_attention_mask"] = torch.ones_like(given["qformer_input_ids"])
        given |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    ids, logits = generated(model, given, _steps(model))
    return written(row, pixels.numpy(), ids, logits)


def written(row: dict, pixels: np.ndarray, ids: np.ndarray, logits: np.ndarray) -> Reference:
    """A reference of a family that `generate` replays: its row, pixels, and the ids [1,T] written, with
    their logits [1,T,V]."""
    return Reference(lambda b: generate(b, {"rows": [row]}, {"pixel_values": pixels}, [0], len(ids[0]),
                                        forced=ids)[1], logits, "generate")


class _Processor(IdeficsProcessor):
    """With a tokenizer of any class: what 5 saved is loaded as the general one."""

    def check_argument_for_proper_class(self, _name, argument):
        return type(argument)


def _interleaved(model: torch.nn.Module, front: Front) -> Reference:
    """Two pictures between texts, as IDEFICS' processor places them."""
    if lacking := {"<image>", "<fake_token_around_image>"} - set(front.tokenizer.get_vocab()):
        raise ExportError(f"the tokenizer has no {' and no '.join(sorted(lacking))}, which stand for pictures")
    seen = [Image.fromarray(p) for p in pictures(model.config.vision_config.image_size, 2)]
    given = _Processor(front.images, front.tokenizer)(
        text=[[seen[0], TEXTS[0], seen[1], TEXTS[1]]], return_tensors="pt")
    ids, logits = generated(model, given, STEPS)
    row = {"input_ids": given["input_ids"][0].numpy(), "images": [0, 1]}
    pixels = given["pixel_values"][0].float().numpy()
    return flamingo(row, pixels, ids, logits)


def flamingo(row: dict, pixels: np.ndarray, ids: np.ndarray, logits: np.ndarray) -> Reference:
    """A reference of the flamingo family. row: input_ids, and images, numbers of pixels'."""
    return Reference(lambda b: generate_flamingo(b, {"rows": [row]}, {"pixel_values": pixels}, [0],
                                                 len(ids[0]), forced=ids)[1], logits, "generate")


def _pairs(model: torch.nn.Module, front: Front) -> Reference:
    pixels = _pixels(model, front, 2)
    longest = model.config.text_config.max_position_embeddings
    padding = "max_length" if model.config.model_type == "siglip" else True
    ids = front.tokenizer(TEXTS, padding=padding, max_length=longest, truncation=True,
                          return_tensors="pt").input_ids
    want = model(input_ids=ids, pixel_values=pixels).logits_per_image
    return Reference(lambda b: scores.dual_encoder(b, pixels.numpy(), ids.numpy())["logits_per_image"],
                     want.numpy(), "forward")


def _matches(model: torch.nn.Module, front: Front) -> Reference:
    pixels = _pixels(model, front, 1)
    ids = torch.tensor([front.tokenizer(TEXTS[0]).input_ids])
    given = {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if type(model).__name__.startswith("Blip2"):
        itm = model(**given, use_image_text_matching_head=True).logits_per_image
        itc = model(**given, use_image_text_matching_head=False).logits_per_image
    else:
        itm, itc = (model(**given, use_itm_head=head)[0] for head in (True, False))
    want = torch.cat([itm.reshape(1, 2), itc.reshape(1, 1)], 1).numpy()

    def replay(b: Replay) -> np.ndarray:
        _, matched, similar = scores.retrieval(b, pixels.numpy(), ids.numpy(), np.ones_like(ids.numpy()))
        return np.concatenate([matched, similar[:, None]], 1)

    return Reference(replay, want, "forward")


def _regions(model: torch.nn.Module, front: Front) -> Reference:
    generator = np.random.default_rng(0)
    corner, size = generator.random((1, 36, 2)) / 2, generator.random((1, 36, 2)) / 2
    row = {"visual_feats": generator.random((1, 36, model.config.visual_feat_dim)),
           "visual_pos": np.concatenate([corner, corner + size], -1)}
    row = {k: v.astype(np.float32) for k, v in row.items()}
    row["input_ids"] = np.array([front.tokenizer(TEXTS[0]).input_ids])
    want = model(**{k: torch.from_numpy(v) for k, v in row.items()}).question_answering_score
    masks = {"attention_mask": np.ones_like(row["input_ids"]),
             "visual_attention_mask": np.ones((1, 36), np.int64)}
    return Reference(lambda b: b.run("model", **row, **masks)["logits"], want.numpy(), "forward")


def pictures(size, count: int) -> np.ndarray:
    """[count,H,W,3] of the size that a model takes."""
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def _pixels(model: torch.nn.Module, front: Front, count: int) -> torch.Tensor:
    seen = model.config.encoder if hasattr(model.config, "encoder") else model.config.vision_config
    made = front.images(images=list(pictures(seen.image_size, count)), return_tensors="np")
    return torch.as_tensor(np.asarray(made["pixel_values"])).float()


def generated(model: torch.nn.Module, given: dict, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Greedy ids [1,T] and logits [1,T,V]."""
    out = model.generate(**given, max_new_tokens=steps, min_new_tokens=2, do_sample=False, num_beams=1,
                         repetition_penalty=1.0, output_logits=True, return_dict_in_generate=True)
    logits = torch.stack(out.logits, 1).float().numpy()
    return out.sequences[:, -logits.shape[1]:].numpy(), logits


def _steps(model: torch.nn.Module) -> int:
    lm = getattr(model, "language_model", None)
    found = windows(lm.config) if lm is not None and not lm.config.is_encoder_decoder else {}
    window = found.get("sliding_attention") or 0
    return STEPS + window if window <= 64 else STEPS


def check(folder: Path, answers: Reference, dtype: str) -> dict:
    """Compare the bundle in folder with the answers; what provenance says about it. Raises
    ExportError."""
    got, want = answers.replay(Replay(folder)), answers.want
    width = min(got.shape[-1], want.shape[-1])
    got, want = got[..., :width], want[..., :width]
    diff = float(np.abs(got - want).max())
    relative = diff / max(1.0, float(np.abs(want).max()))
    if not relative <= LIMITS.get(dtype, float("inf")):  # NaN fails
        raise ExportError(f"the exported pipeline differs from the checkpoint's own {answers.what} by "
                          f"{diff:.3g} in a logit ({relative:.2g} of their range): this kind of model "
                          "is not supported")
    count = int(np.prod(want.shape[:-1]))
    return {"tokens" if answers.what == "generate" else "answers": count,
            "same_best": int((got.argmax(-1) == want.argmax(-1)).sum()),
            "max_abs_diff": diff, "max_rel_diff": relative}
