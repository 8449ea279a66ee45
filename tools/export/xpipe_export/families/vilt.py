"""ViLT (Kim et al., 2102.03334) for questions: one transformer over a question's words and a picture's
patches, and a classifier over answers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .. import checkpoint, replay_families
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from .common import Front
from .t5 import right_padded


class Answers(nn.Module):
    """input_ids, attention_mask [B,T], pixel_values [B,3,H,W], pixel_mask [B,H,W] bool -> logits [B,A]

    ViltForQuestionAnswering with all patches in their order. visual_embed of modeling_vilt.py puts them
    in a random order and repeats random ones of the padding, which is hidden: neither changes the answer.
    """

    def __init__(self, model: nn.Module, attention: bool = False):
        super().__init__()
        self.vilt, self.classifier, self.attention = model.vilt, model.classifier, attention
        config = model.config
        self.patch, self.side = config.patch_size, config.image_size // config.patch_size

    def forward(self, input_ids, attention_mask, pixel_values, pixel_mask):
        made, kinds = self.vilt.embeddings, self.vilt.embeddings.token_type_embeddings.weight
        words = made.text_embeddings(input_ids=input_ids) + kinds[0]
        patches = made.patch_embeddings(pixel_values)
        down, across = patches.shape[2:]
        seen = pixel_mask[:, :down * self.patch:self.patch, :across * self.patch:self.patch].long()
        table = made.position_embeddings[:, 1:].reshape(self.side, -1)
        rows = self.between(seen[:, :, 0].sum(1), down) @ table  # [B,down,side*D]
        places = rows.reshape(rows.shape[0], down, self.side, -1)
        places = (self.between(seen[:, 0].sum(1), across)[:, None] @ places).flatten(1, 2)
        first = (made.cls_token + made.position_embeddings[:, :1]) + places[:, :1] * 0
        states = torch.cat([words, torch.cat([first, patches.flatten(2).transpose(1, 2) + places], 1) + kinds[1]], 1)
        mask = torch.cat([attention_mask, torch.ones_like(attention_mask[:, :1]), seen.flatten(1)], 1)
        mask = (1.0 - mask.float())[:, None, None] * torch.finfo(torch.float32).min
        out = self.vilt.encoder(states, attention_mask=mask, output_attentions=self.attention, return_dict=True)
        logits = self.classifier(self.vilt.pooler(self.vilt.layernorm(out.last_hidden_state)))
        return logits, *(out.attentions if self.attention else ())

    def between(self, count, length):
        """Weights [B,length,side] of the table's rows for count [B] patches in a line, the first and the
        last at its ends (interpolate with align_corners)."""
        step = torch.where(count > 1, (self.side - 1) / (count - 1).clamp(min=1).float(), 0.0)
        at = (torch.arange(length).float()[None] * step[:, None]).clamp(max=self.side - 1)
        return (1 - (at[..., None] - torch.arange(self.side).float()).abs()).clamp(min=0)


def check(config, images: dict) -> None:
    """Refuse what does not give the same answer each time, and pictures that are no whole patches."""
    size = images.get("size") or {}
    shortest = size.get("shortest_edge", 384) if isinstance(size, dict) else size
    divisor = images.get("size_divisor", 32)
    if divisor % config.patch_size:
        raise ExportError(f"the image processor's size_divisor is {divisor}, no multiple of the patches' {config.patch_size}")
    most = (shortest // config.patch_size) * (int(1333 / 800 * shortest) // config.patch_size)
    if 0 <= config.max_image_length < most:
        raise ExportError(f"max_image_length of config.json is {config.max_image_length}, and pictures have up to {most} "
                          "patches: ViLT would look at random ones of them, other ones each time")


def spec(module: nn.Module, config, attention: bool) -> GraphSpec:
    size = config.patch_size
    maps = [f"self_attn.{i}" for i in range(config.num_hidden_layers)] if attention else []

    def make(s):
        height, width = s["height"] * size, s["width"] * size
        seen = torch.ones(s["batch"], height, width, dtype=torch.bool)
        seen[-1, height - s["pad"] * size:] = False
        seen[0, :, width - s["pad"] * size:] = False
        return {"input_ids": torch.randint(0, config.vocab_size, (s["batch"], s["length"])),
                "attention_mask": right_padded(s["batch"], s["length"]),
                "pixel_values": torch.randn(s["batch"], 3, height, width) * seen[:, None], "pixel_mask": seen}

    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"],
            "pixel_values": ["batch", 3, "height", "width"], "pixel_mask": ["batch", "height", "width"],
            "logits": ["batch", "answers"]}
    axes |= {n: ["batch", "heads", "positions", "positions"] for n in maps}
    return GraphSpec(module, make, ["logits", *maps], axes,
                     {"batch": 2, "length": 5, "height": 3, "width": 4, "pad": 1},
                     [{"batch": 1, "length": 9, "height": 1, "width": 2, "pad": 0},
                      {"batch": 3, "length": 4, "height": 7, "width": 5, "pad": 2}])


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    config = model.config
    check(config, checkpoint.image_processor(bundle.dir) or {})
    bundle.meta |= {"tasks": ["answer"], "prompts": {"answer": "{}"}, "answers": model.num_labels}
    bundle.add_graph("model", spec(Answers(model, attention), config, attention))


def end_to_end(model: nn.Module, front: Front):
    """What the model itself scores of two pictures of different sizes with a question each."""
    check(model.config, front.images.to_dict())
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((48, 64), (71, 50))]
    made = front.images(images=pictures, return_tensors="pt")
    rows = [front.tokenizer(t).input_ids for t in ("what color is the cat?", "is there a dog on the grass?")]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(r), dtype=torch.int64) for r in rows], batch_first=True)
    with torch.no_grad():
        want = model(input_ids=ids, attention_mask=mask, **made).logits.numpy()
    return lambda folder, dtype: replay_families.verdict(
        replay_families.vilt(replay_families.Replay(folder), rows, made["pixel_values"].numpy(), made["pixel_mask"].numpy()),
        want, dtype)
