"""What a bundle that scores says, as the Go pipeline makes it, in numpy over ONNX Runtime."""

from __future__ import annotations

import numpy as np

from .replay import Replay


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def dual_encoder(b: Replay, pixels: np.ndarray | dict[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
    """CLIP and SigLIP: pixels [N,3,H,W] or what else the vision encoder takes, by name; ids [M,T] -> pooled_image, image_embeds [N,E], text_embeds
    [M,E], logits_per_image [N,M]."""
    seen = pixels if isinstance(pixels, dict) else {"pixel_values": pixels}
    pooled = image = b.run("vision_encoder", **seen)["pooled_output"]
    if "visual_projection.weight" in b.projection:
        image = b.linear("visual_projection", image)
    text = b.linear("text_projection", b.run("text_encoder", input_ids=ids)["pooled_output"])
    logits = unit(image) @ unit(text).T * np.exp(b.projection["logit_scale"])
    return {"pooled_image": pooled, "image_embeds": unit(image), "text_embeds": unit(text),
            "logits_per_image": logits + b.projection.get("logit_bias", np.float32(0))}


def clap(b: Replay, heard: dict[str, np.ndarray], read: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CLAP: heard input_features [N,...] and is_longer [N,1], read input_ids and attention_mask [M,T] ->
    audio_embeds [N,E], text_embeds [M,E], logits_per_audio [N,M]."""
    audio = unit(b.run("audio_encoder", **heard)["audio_embeds"])
    text = unit(b.run("text_encoder", **read)["text_embeds"])
    return {"audio_embeds": audio, "text_embeds": text, "logits_per_audio": audio @ text.T * np.exp(b.projection["logit_scale"])}


def retrieval(b: Replay, pixels: np.ndarray, ids: np.ndarray,
              mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BLIP's and BLIP-2's matching: one picture [1,3,H,W] and M texts [M,T], padded on the right ->
    image_embeds, itm_logits [M,2], itc_similarity [M]."""
    embeds = b.run("vision_encoder", pixel_values=pixels)["image_embeds"]
    text = b.run("text_encoder", input_ids=ids, attention_mask=mask)["pooled_output"]
    same = np.repeat(embeds, len(ids), 0)
    if "matcher" in b.meta["graphs"]:
        states = b.run("matcher", input_ids=ids, attention_mask=mask, image_embeds=same)["pooled_output"]
        itc = unit(b.linear("vision_proj", embeds[0, :1])) @ unit(b.linear("text_proj", text)).T
    else:
        states = b.run("qformer", image_embeds=same, qformer_input_ids=ids,
                       qformer_attention_mask=mask)["query_output"].mean(1)
        none = np.zeros((1, 0), np.int64)
        queries = b.run("qformer", image_embeds=embeds, qformer_input_ids=none,
                        qformer_attention_mask=none)["query_output"]
        itc = (unit(b.linear("vision_projection", queries[0]))
               @ unit(b.linear("text_projection", text)).T).max(0, keepdims=True)
    return embeds, b.linear("itm_head", states), itc[0]
