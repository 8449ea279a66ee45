"""The Go pipeline in a few lines of numpy over ONNX Runtime: proof that a bundle, as BUNDLE.md
describes it, is enough to get the golden outputs. Tests run it, and the exporter at its end."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

from . import memory
from .graph import feed, session
from .weights import data_file


class Replay:
    """A bundle, opened."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.meta = json.loads((self.folder / "xpipe.json").read_text())
        self.sessions: dict[str, ort.InferenceSession] = {}

    @cached_property
    def projection(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / self.meta["projection"])

    def session(self, role: str) -> ort.InferenceSession:
        if role not in self.sessions:
            self.sessions[role] = session(self.folder / self.meta["graphs"][role])
        return self.sessions[role]

    def run(self, role: str, **inputs) -> dict[str, np.ndarray]:
        opened = self.session(role)
        names = [o.name for o in opened.get_outputs()]
        known = {i.name for i in opened.get_inputs()}
        with memory.watched([data_file(self.folder / self.meta["graphs"][role])]):
            values = opened.run(names, {k: feed(v) for k, v in inputs.items() if k in known})
        return dict(zip(names, values))

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        y = x @ self.projection[f"{name}.weight"].T
        return y + self.projection[f"{name}.bias"] if f"{name}.bias" in self.projection else y

    def empty_past(self, batch: int) -> dict[str, np.ndarray]:
        """Zero-length cache for every growing input of the decoder."""
        out = {}
        for i in self.session("decoder").get_inputs():
            if i.name.startswith("past_key_values") and ".encoder." not in i.name:
                _, heads, _, dim = i.shape
                out[i.name] = np.zeros((batch, heads, 0, dim), np.float32)
        return out

    def greedy(self, prefix: np.ndarray, mask: np.ndarray, steps: int, fixed: dict[str, np.ndarray] | None = None,
               forced: np.ndarray | None = None, each=None) -> tuple[list[list[int]], np.ndarray]:
        """Decode from prefix embeddings [B,T,D] with mask [B,T].

        fixed: inputs that stay the same at every step (cross-attention keys, values and mask);
        each(step) gives those that do not. forced [B,steps]: ids to feed instead of the best.
        Returns ids [B][steps] and logits [B,steps,V].
        """
        past = self.empty_past(len(prefix))
        ids, logits = [], []
        embeds = prefix
        for step in range(steps):
            out = self.run("decoder", inputs_embeds=embeds, attention_mask=mask, num_logits_to_keep=np.int64(1), **past,
                           **(fixed or {}), **(each(step) if each else {}))
            logits.append(out["logits"][:, -1])
            ids.append(forced[:, step] if forced is not None else logits[-1].argmax(-1))
            past = {k.replace("present", "past_key_values"): v for k, v in out.items() if k.startswith("present")}
            embeds = self.run("embed_tokens", input_ids=ids[-1][:, None].astype(np.int64))["inputs_embeds"]
            mask = np.concatenate([mask, np.ones((len(mask), 1), np.int64)], 1)
        return np.stack(ids, 1).tolist(), np.stack(logits, 1)


def left_pad(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows [T_i,D] to [B,T,D] and mask [B,T]."""
    longest = max(len(r) for r in rows)
    mask = np.array([[0] * (longest - len(r)) + [1] * len(r) for r in rows], np.int64)
    return np.stack([np.pad(r, ((longest - len(r), 0), (0, 0))) for r in rows]), mask


def right_pad(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    longest = max(len(r) for r in rows)
    mask = np.array([[1] * len(r) + [0] * (longest - len(r)) for r in rows], np.int64)
    pad = lambda r: np.pad(r, ((0, longest - len(r)),) + ((0, 0),) * (r.ndim - 1))
    return np.stack([pad(r) for r in rows]), mask


def start_tokens(b: Replay, batch: int) -> np.ndarray:
    start = b.meta.get("decoder_start_token_id")
    if start is None:
        start = json.loads((b.folder / "generation_config.json").read_text())["decoder_start_token_id"]
    return np.full((batch, 1), start, np.int64)


def generate(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int], steps: int, forced=None):
    """Greedy ids and logits of the rows, in one batch, for any generative bundle but those of the
    flamingo family."""
    graphs = b.meta["graphs"]
    if b.meta["family"] == "llava":
        return generate_image_tokens(b, golden, arrays, rows, steps, forced)
    embeds = b.run("vision_encoder", pixel_values=arrays["pixel_values"][rows])["image_embeds"]
    ids = [np.array(golden["rows"][r]["input_ids"], np.int64) for r in rows]
    fixed, prompts = None, None
    # What of a tokenized prompt follows the decoder's start: BLIP's [CLS] gives way to it, and
    # [SEP] would end the text.
    inner = (lambda i: i) if b.meta["family"] == "encdec" else (lambda i: i[1:-1])
    if "qformer" in graphs:
        text, mask = right_pad([np.array(golden["rows"][r].get("qformer_input_ids", []), np.int64) for r in rows])
        queries = b.run("qformer", image_embeds=embeds, qformer_input_ids=text,
                        qformer_attention_mask=mask)["query_output"]
        projected = b.linear("language_projection", queries)
        prompts = [
            np.concatenate(
                [projected[i], b.run("embed_tokens", input_ids=ids[i][None])["inputs_embeds"][0]])
            for i in range(len(rows))]
        if "encoder" not in graphs:
            prefix, mask = left_pad(prompts)
            return b.greedy(prefix, mask, steps, forced=forced)
        source, mask = right_pad(prompts)
        fixed = b.run("encoder", inputs_embeds=source, attention_mask=mask)
    elif "question_encoder" in graphs:
        text, mask = right_pad(ids)
        fixed = b.run("question_encoder", input_ids=text, attention_mask=mask, image_embeds=embeds)
    elif "cross_kv" in graphs:
        mask = np.ones(embeds.shape[:2], np.int64)
        fixed = b.run("cross_kv", image_embeds=embeds)
        start, replaced = start_tokens(b, 1)[0], b.meta.get("prompt_replaces_start", False)
        begun = [i if replaced and len(i) else np.concatenate([start, inner(i)]) for i in ids]
        prompts = [b.run("embed_tokens", input_ids=i[None])["inputs_embeds"][0] for i in begun]
    fixed = {k.replace("present", "past_key_values"): v for k, v in fixed.items()
             if k.startswith("present")} | {"encoder_attention_mask": mask}
    if "cross_kv" in graphs:
        prefix, own = left_pad(prompts)
    else:
        prefix = b.run("embed_tokens", input_ids=start_tokens(b, len(rows)))["inputs_embeds"]
        own = np.ones((len(rows), 1), np.int64)
    return b.greedy(prefix, own, steps, fixed=fixed, forced=forced)


def generate_flamingo(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int],
                      steps: int, images: np.ndarray | None = None, forced=None):
    """Greedy ids and logits of interleaved prompts in one left-padded batch.

    images overrides the pixels. The media mask is made here from the ids, as in Go.
    """
    pixels = arrays["pixel_values"] if images is None else images
    latents = b.run("vision_encoder", pixel_values=pixels)["image_embeds"]
    if "resampler" in b.meta["graphs"]:
        latents = b.run("resampler", image_embeds=latents)["latents"]
    count = max(1, max(len(golden["rows"][r]["images"]) for r in rows))
    per_row = np.zeros((len(rows), count, *latents.shape[1:]), np.float32)
    for i, r in enumerate(rows):
        per_row[i, : len(golden["rows"][r]["images"])] = latents[golden["rows"][r]["images"]]
    kv = b.run("cross_kv", latents=per_row.reshape(len(rows), -1, latents.shape[-1]))
    fixed = {k.replace("present", "past_key_values"): v for k, v in kv.items()}
    ids = [np.array(golden["rows"][r]["input_ids"], np.int64) for r in rows]
    embeds, mask = left_pad([b.run("embed_tokens", input_ids=i[None])["inputs_embeds"][0] for i in ids])
    tokenizer = json.loads((b.folder / "tokenizer.json").read_text())
    token = next(t["id"] for t in tokenizer["added_tokens"] if t["content"] == b.meta["media"]["token"])
    eos = json.loads((b.folder / "generation_config.json").read_text())["eos_token_id"]
    media = np.zeros((*mask.shape, count), np.int64)
    for i, row in enumerate(ids):
        seen = media_index(row, token, eos if b.meta["media"]["reset_after_eos"] else None)
        for t, image in enumerate(seen):
            if image >= 0:
                media[i, mask.shape[1] - len(row) + t, image] = 1

    def each(step):
        m = media if step == 0 else media[:, -1:]
        return {"image_attention_mask": m, "cross_attention_gate": m.any(-1).astype(np.float32)}

    return b.greedy(embeds, mask, steps, fixed=fixed, forced=forced, each=each)


def media_index(ids: np.ndarray, token: int, eos: int | None) -> list[int]:
    """For each token the number of the last image before or at it, -1 for none; with eos, none
    between an eos and the next image."""
    out, count, ended = [], -1, False
    for i in ids:
        if i == token:
            count, ended = count + 1, False
        out.append(-1 if ended else count)
        ended = ended or i == eos
    return out


def generate_image_tokens(b: Replay, golden: dict, arrays: dict[str, np.ndarray], rows: list[int],
                          steps: int, forced=None):
    """Greedy ids and logits of prompts in whose image tokens' places rows of pictures stand.

    Where the vocabulary has no such token it is -1. A row's `pixels` are from and to of its pictures in
    pixel_values, `grids` their image_grid_thw, `sizes` their image_sizes, `shown` the height and width of
    their parts without padding.
    """
    token = b.meta.get("image_token_id", -1)
    inputs = {i.name: i for i in b.session("decoder").get_inputs()}
    prompts, places, types = [], [], []
    for r in rows:
        row = golden["rows"][r]
        ids = np.array(row["input_ids"], np.int64)
        embeds = b.run("embed_tokens", input_ids=ids[None])["inputs_embeds"][0]
        grids = row.get("grids", [None] * len(row["pixels"]))
        shown = row.get("shown", [None] * len(grids))
        masks = [part_masks(parts, arrays["pixel_values"].shape[2:]) for parts in shown]
        made = [b.run("vision_encoder", pixel_values=arrays["pixel_values"][start:end],
                      image_grid_thw=np.array([grid or []], np.int64), pixel_attention_mask=mask)["image_features"]
                for (start, end), grid, mask in zip(row["pixels"], grids, masks)]
        if b.meta["model_type"] == "llava_onevision":  # the last is what a picture is in a prompt of several
            end = b.projection["image_newline"]
            made = ([np.concatenate([f[-1], end[None]]) for f in made] if len(made) > 1 else
                    [in_lines(b, f[:-1], size) for f, size in zip(made, row["sizes"])])
        elif "sizes" in row:
            made = [in_lines(b, f, size) for f, size in zip(made, row["sizes"])]
        made = [f.reshape(-1, f.shape[-1]) for f in made]
        if made:
            embeds[ids == token] = np.concatenate(made)
        prompts.append(embeds)
        places.append(picture_places(ids == token, [(len(f), g) for f, g in zip(made, grids)]))
        types.append((ids == token).astype(np.int64))
    prefix, mask = left_pad(prompts)

    def each(step):
        given = {}
        if "position_ids" in inputs:
            given["position_ids"] = np.stack([p.max(1, keepdims=True) + step for p in places], 1)
            if step == 0:
                given["position_ids"] = np.stack([
                    np.pad(p, ((0, 0), (mask.shape[1] - p.shape[1], 0))) for p in places], 1)
        if "token_type_ids" in inputs:
            given["token_type_ids"] = left_pad([t[:, None] for t in types])[0][..., 0]
            if step:
                given["token_type_ids"] = np.zeros((len(rows), 1), np.int64)
        return given

    return b.greedy(prefix, mask, steps, forced=forced, each=each)


def part_masks(parts: list[list[int]] | None, size: tuple) -> np.ndarray:
    """pixel_attention_mask [N,H,W] of parts of these heights and widths."""
    masks = np.zeros((len(parts or []), *size), bool)
    for mask, (height, width) in zip(masks, parts or []):
        mask[:height, :width] = True
    return masks


def in_lines(b: Replay, rows: np.ndarray, size: list[int]) -> np.ndarray:
    """LLaVA-NeXT's rows [R,D] of a picture of height and width size, of rows [N,L,D] of the whole and its
    squares: the whole's, and each line's over all squares, without padding and with its end."""
    config = json.loads((b.folder / "config.json").read_text())
    side, height, width = config["vision_config"]["image_size"], *size

    def worth(place):  # pixels that are kept, and fewer that are not used
        scale = min(place[1] / width, place[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - place[0] * place[1]

    down, across = (n // side for n in max(config["image_grid_pinpoints"], key=worth))
    each = int(rows.shape[1] ** 0.5)
    lines = rows[1:].reshape(down, across, each, each, -1).swapaxes(1, 2).reshape(down * each, across * each, -1)
    if width / height > across / down:
        pad = (down * each - int(round(height * (across * each / width), 7))) // 2
        lines = lines[pad:down * each - pad]
    else:
        pad = (across * each - int(round(width * (down * each / height), 7))) // 2
        lines = lines[:, pad:across * each - pad]
    if "vision_aspect_ratio" in config:
        lines = fewer(lines, int(config["vision_aspect_ratio"].removeprefix("anyres_max_")) * each * each)
    ends = np.broadcast_to(b.projection["image_newline"], (len(lines), 1, lines.shape[-1]))
    return np.concatenate([rows[0], np.concatenate([lines, ends], 1).reshape(-1, lines.shape[-1])])


def fewer(lines: np.ndarray, most: int) -> np.ndarray:
    """Rows [H,W,D] of LLaVA-OneVision as bilinear interpolation makes them about `most`."""
    ratio = (lines.shape[0] * lines.shape[1] / most) ** 0.5
    if ratio <= 1.1:
        return lines

    def along(axis: int, x: np.ndarray) -> np.ndarray:
        n, size = x.shape[axis], int(x.shape[axis] // ratio)
        at = np.maximum((np.arange(size) + 0.5) * n / size - 0.5, 0)
        first = at.astype(np.int64)
        share = np.expand_dims(at - first, [i for i in range(3) if i != axis]).astype(np.float32)
        second = np.minimum(first + 1, n - 1)
        return x.take(first, axis) * (1 - share) + x.take(second, axis) * share

    return along(1, along(0, lines))


def picture_places(here: np.ndarray, pictures: list[tuple]) -> np.ndarray:
    """Time, row and column [3,L] of each position of a prompt: text counts on in all three, a picture
    of so many rows and a grid of patches counts rows and columns from there (get_rope_index)."""
    out, at, following = np.zeros((3, len(here)), np.int64), 0, 0
    while at < len(here):
        if not here[at] or not pictures or pictures[0][1] is None:
            out[:, at], at, following = following, at + 1, following + 1
            continue
        (count, (_, height, width)), *pictures = pictures
        merge = round((height * width / count) ** 0.5)
        i = np.arange(count)
        out[:, at:at + count] = following + np.stack([i * 0, i // (width // merge), i % (width // merge)])
        at, following = at + count, following + max(height, width) // merge
    return out
