"""LXMERT: regions and a question in, answer scores out; one graph."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from .blip2 import Captured
from .t5 import right_padded


class Model(nn.Module):
    """input_ids, attention_mask [B,T], visual_feats [B,R,F], visual_pos [B,R,4],
    visual_attention_mask [B,R] -> logits [B,A]"""

    def __init__(self, model: nn.Module, attention: list[nn.Module] = ()):
        super().__init__()
        self.model, self.attention = model, list(attention)

    def forward(self, input_ids, attention_mask, visual_feats, visual_pos, visual_attention_mask):
        # the model itself never asks the second direction of a cross layer for its weights
        with Captured(self.attention, ask=True) as maps:
            out = self.model(input_ids=input_ids, attention_mask=attention_mask,
                             visual_feats=visual_feats, visual_pos=visual_pos,
                             visual_attention_mask=visual_attention_mask)
        return out.question_answering_score, *maps


def attention_modules(model: nn.Module) -> tuple[list[nn.Module], list[str]]:
    """The modules whose maps are captured, and the names of the maps in the order they are made.

    A cross layer's one attention module runs twice: words over regions, then regions over words.
    """
    encoder = model.lxmert.encoder
    modules, names = [], []
    for i, layer in enumerate(encoder.layer):
        modules.append(layer.attention.self)
        names.append(f"self_attn.{i}")
    for i, layer in enumerate(encoder.r_layers):
        modules.append(layer.attention.self)
        names.append(f"visual_self_attn.{i}")
    for j, layer in enumerate(encoder.x_layers):
        modules += [layer.visual_attention.att, layer.lang_self_att.self, layer.visn_self_att.self]
        names += [f"cross_attn.{j}", f"visual_cross_attn.{j}",
                  f"self_attn.{len(encoder.layer) + j}",
                  f"visual_self_attn.{len(encoder.r_layers) + j}"]
    return modules, names


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """LxmertForQuestionAnswering, whatever its number of answers (VQA 3129, GQA 1842)."""
    config = model.config
    bundle.meta |= {"tasks": ["answer"], "prompts": {"answer": "{}"}, "limits": {"max_text": 20, "regions": 36},
                    "visual_feat_dim": config.visual_feat_dim, "answers": model.num_qa_labels}
    modules, names = attention_modules(model) if attention else ([], [])

    def make(s):
        corner = torch.rand(s["batch"], s["regions"], 2) * 0.5
        return {"input_ids": torch.randint(0, config.vocab_size, (s["batch"], s["length"])),
                "attention_mask": right_padded(s["batch"], s["length"]),
                "visual_feats": torch.rand(s["batch"], s["regions"], config.visual_feat_dim),
                "visual_pos": torch.cat([corner, corner + torch.rand_like(corner) * 0.5], -1),
                "visual_attention_mask": right_padded(s["batch"], s["regions"])}

    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"],
            "visual_feats": ["batch", "regions", config.visual_feat_dim],
            "visual_pos": ["batch", "regions", 4], "visual_attention_mask": ["batch", "regions"],
            "logits": ["batch", "answers"]}
    shapes = {"self_attn": ["length", "length"], "visual_self_attn": ["regions", "regions"],
              "cross_attn": ["length", "regions"], "visual_cross_attn": ["regions", "length"]}
    axes |= {n: ["batch", "heads", *shapes[n.split(".")[0]]] for n in names}
    bundle.add_graph("model", GraphSpec(Model(model, modules), make, ["logits", *names], axes,
                                        {"batch": 2, "length": 5, "regions": 7},
                                        [{"batch": 1, "length": 9, "regions": 36},
                                         {"batch": 3, "length": 4, "regions": 3}]))


def add_labels(bundle: Bundle, checkpoint: Path, given: str | None) -> None:
    """The answers as labels.json, a list in the order of the logits: from --labels, the
    checkpoint's folder or its config."""
    count = bundle.meta["answers"]
    found = [Path(given)] if given else [p for n in ("labels.json", "label2ans.json",
                                                     "trainval_label2ans.json")
                                         if (p := checkpoint / n).is_file()]
    if found:
        text = found[0].read_text()
        try:
            labels = json.loads(text)
        except ValueError:
            labels = text.splitlines()
        if isinstance(labels, dict):
            labels = [labels[k] for k in sorted(labels, key=int)]
    else:
        names = json.loads((checkpoint / "config.json").read_text()).get("id2label") or {}
        labels = [names[k] for k in sorted(names, key=int)]
        if len(labels) != count or labels[0] == "LABEL_0":
            return  # nobody says what the answers are called; the bundle then answers with their numbers
    if len(labels) != count:
        raise ExportError(f"{len(labels)} labels for {count} answers")
    bundle.add_json("labels.json", labels)
