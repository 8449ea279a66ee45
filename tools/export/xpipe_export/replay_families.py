"""Replays of families whose way differs from replay.generate's, and the comparison of a bundle with
the checkpoint's own generate by them."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import torch

from .endtoend import LIMITS, STEPS
from .graph import ExportError
from .replay import Replay, left_pad, right_pad, start_tokens

Run = Callable[[Replay, int, np.ndarray], tuple[list[list[int]], np.ndarray]]
"""(bundle, steps, forced ids [1,steps]) -> ids, logits [1,steps,V], by the bundle alone"""


def ask(generate: Callable, given: dict, run: Run) -> Callable[[Path, str], dict]:
    """Ask a model's generate as transformers loads it, before any part is replaced. Returns what
    compares a written bundle (folder, dtype) with the answer: for provenance, raises ExportError."""
    with torch.no_grad():
        out = generate(**given, max_new_tokens=STEPS, min_new_tokens=2, do_sample=False, num_beams=1,
                       repetition_penalty=1.0, no_repeat_ngram_size=0, output_logits=True, return_dict_in_generate=True)
    want = torch.stack(out.logits, 1).float().numpy()
    ids = out.sequences[:, -want.shape[1]:].numpy()

    def check(folder: Path, dtype: str) -> dict:
        _, got = run(Replay(folder), want.shape[1], ids)
        return verdict(got, want, dtype)

    return check


def verdict(got: np.ndarray, want: np.ndarray, dtype: str) -> dict:
    """The difference of a bundle's numbers from the checkpoint's, for provenance. Raises ExportError
    where it is above the dtype's limit."""
    diff = float(np.abs(got - want).max()) if got.shape == want.shape else float("nan")
    relative = diff / max(1.0, float(np.abs(want).max()))
    if not relative <= LIMITS.get(dtype, float("inf")):  # NaN fails
        raise ExportError(f"the exported pipeline differs from the checkpoint's own model by {diff:.3g} ({relative:.2g} "
                          "of the range): this kind of model is not supported")
    return {"tokens": want.shape[1], "max_abs_diff": diff, "max_rel_diff": relative}


def mllama(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int], steps: int,
           forced: np.ndarray | None = None):
    """Greedy ids and logits of prompts with pictures (or none) in one left-padded batch. What each
    token reads is made here from the ids, as in Go."""
    tiles, image = b.meta["tiles"], b.meta["image_token_id"]
    most = tiles * max(1, max(len(golden["rows"][r]["images"]) for r in rows))
    width = b.session("cross_kv").get_inputs()[0].shape[2]
    states = np.zeros((len(rows), most * b.meta["tokens_per_tile"], width), np.float32)
    for i, r in enumerate(rows):
        if numbers := golden["rows"][r]["images"]:
            made = b.run("vision_encoder", **{n: arrays[n][numbers] for n in ("pixel_values", "aspect_ratio_ids",
                                                                             "aspect_ratio_mask")})["image_embeds"]
            made = made.reshape(-1, width)
            states[i, :len(made)] = made
    kv = b.run("cross_kv", latents=states)
    fixed = {k.replace("present", "past_key_values"): v for k, v in kv.items()}
    ids = [np.array(golden["rows"][r]["input_ids"], np.int64) for r in rows]
    embeds, mask = left_pad([b.run("embed_tokens", input_ids=i[None])["inputs_embeds"][0] for i in ids])
    media, gate = np.zeros((*mask.shape, most), np.int64), np.zeros(mask.shape, np.float32)
    for i, r in enumerate(rows):
        pad = mask.shape[1] - len(ids[i])
        for t, seen in enumerate(mllama_sees(ids[i], image)):
            gate[i, pad + t] = len(seen) > 0
            for picture in seen:
                media[i, pad + t, picture * tiles:picture * tiles + golden["rows"][r]["tiles"][picture]] = 1
            if not seen:
                media[i, pad + t, :len(golden["rows"][r]["images"]) * tiles] = 1

    def each(step):
        at = slice(None) if step == 0 else slice(-1, None)
        return {"image_attention_mask": media[:, at], "cross_attention_gate": gate[:, at]}

    return b.greedy(embeds, mask, steps, fixed=fixed, forced=forced, each=each)


def mllama_sees(ids: np.ndarray, image: int) -> list[list[int]]:
    """For each token the pictures it attends to: the last group of pictures named without a token
    between them, as far as it was named by then (get_cross_attention_token_mask of transformers)."""
    out, group, count, inside = [], [], 0, False
    for i in ids:
        if i == image:
            group, count = [*group, count] if inside else [count], count + 1
        inside = i == image
        out.append(list(group))
    return out


def florence(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int], steps: int,
             forced: np.ndarray | None = None):
    """Greedy ids and logits of a picture's features with a text behind them."""
    features = b.run("vision_encoder", pixel_values=arrays["pixel_values"][rows])["image_features"]
    ids = [np.array(golden["rows"][r]["input_ids"], np.int64) for r in rows]
    source, mask = right_pad([
        np.concatenate([features[i], b.run("embed_tokens", input_ids=ids[i][None])["inputs_embeds"][0]])
        for i in range(len(rows))])
    states = b.run("encoder", inputs_embeds=source, attention_mask=mask)["last_hidden_state"]
    prefix = b.run("embed_tokens", input_ids=start_tokens(b, len(rows)))["inputs_embeds"]
    return b.greedy(prefix, np.ones((len(rows), 1), np.int64), steps,
                    fixed=_crossing(b, states) | {"encoder_attention_mask": mask}, forced=forced)


def pix2struct(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int], steps: int,
               forced: np.ndarray | None = None):
    """Greedy ids and logits of lists of patches, behind each row's text."""
    patches, mask = (arrays[n][rows] for n in ("flattened_patches", "attention_mask"))
    states = b.run("vision_encoder", flattened_patches=patches, attention_mask=mask)["image_embeds"]
    begun = [np.concatenate([start_tokens(b, 1)[0], golden["rows"][r]["input_ids"]]).astype(np.int64) for r in rows]
    prefix, own = left_pad([b.run("embed_tokens", input_ids=i[None])["inputs_embeds"][0] for i in begun])
    return b.greedy(prefix, own, steps, forced=forced,
                    fixed=_crossing(b, states) | {"encoder_attention_mask": mask.astype(np.int64)})


def whisper(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int], steps: int,
            forced: np.ndarray | None = None):
    """Greedy ids and logits of sounds' features, from each row's start; all starts are of one length."""
    states = b.run("encoder", input_features=arrays["input_features"][rows])["last_hidden_state"]
    fed = np.array([golden["rows"][r]["start"] for r in rows], np.int64)
    past = b.empty_past(len(rows)) | _crossing(b, states)
    ids, logits, done = [], [], 0
    for step in range(steps):
        length = done + fed.shape[1]
        out = b.run("decoder", input_ids=fed, attention_mask=np.ones((len(rows), length), np.int64),
                    position_ids=np.repeat(np.arange(done, length)[None], len(rows), 0),
                    num_logits_to_keep=np.int64(1), **past)
        logits.append(out["logits"][:, -1])
        ids.append(forced[:, step] if forced is not None else logits[-1].argmax(-1))
        past |= {k.replace("present", "past_key_values"): v for k, v in out.items() if k.startswith("present")}
        fed, done = ids[-1][:, None].astype(np.int64), length
    return np.stack(ids, 1).tolist(), np.stack(logits, 1)


def _crossing(b: Replay, states: np.ndarray) -> dict[str, np.ndarray]:
    """The decoder's constant keys and values, of an encoder's states [B,S,D]."""
    return {k.replace("present", "past_key_values"): v for k, v in b.run("cross_kv", image_embeds=states).items()}


def match(b: Replay, pixels: np.ndarray, texts: list[list[int]]) -> np.ndarray:
    """BridgeTower's logits [texts,2] of one picture [1,3,H,W] with each text."""
    states = b.run("vision_encoder", pixel_values=pixels)["image_embeds"]
    ids, mask = right_pad([np.array(t, np.int64) for t in texts])
    pooled = b.run("matcher", input_ids=ids, attention_mask=mask,
                   image_embeds=np.repeat(states, len(texts), 0))["pooled_output"]
    return b.linear("itm_head", pooled)


def vilt(b: Replay, texts: list[list[int]], pixels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """ViLT's logits [B,A] over the answers to questions about pictures [B,3,H,W], of which seen [B,H,W] is
    no padding."""
    ids, mask = right_pad([np.array(t, np.int64) for t in texts])
    return b.run("model", input_ids=ids, attention_mask=mask, pixel_values=pixels, pixel_mask=seen.astype(bool))["logits"]


def embed(b: Replay, pixels: np.ndarray, texts: list[list[int]]) -> np.ndarray:
    """The normalised embeddings [texts,2,E] of each text, and of one picture [1,3,H,W] beside it."""
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    image = unit(b.linear("visual_projection", b.run("vision_encoder", pixel_values=pixels)["pooled_output"]))
    ids, mask = right_pad([np.array(t, np.int64) for t in texts])
    words = unit(b.linear("text_projection", b.run("text_encoder", input_ids=ids, attention_mask=mask)["pooled_output"]))
    return np.stack([words, np.repeat(image, len(texts), 0)], 1)
