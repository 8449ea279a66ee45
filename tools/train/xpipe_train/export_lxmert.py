"""Checkpoint -> bundle of lxmert-mini: python -m xpipe_train.export_lxmert CHECKPOINT OUT.

`model` is tools/export's own LXMERT graph; `region_encoder` is the frozen trunk and the trained Eye
in one.
"""
from pathlib import Path

import torch
from torch import nn
from xpipe_export.families import lxmert
from xpipe_export.graph import GraphSpec

from .encoder import MEAN, STD
from .lxmert_crops import MARGIN, SIZE, Trunk
from .mini_export import arguments, as_stored, mini_bundle
from .scenes import ANSWERS
from .tasks.lxmert import MAX_TEXT, Model

REGIONS = 36


class RegionEncoder(nn.Module):
    """pixel_values [R,3,128,128] -> visual_feats [R,F]."""

    def __init__(self, eye: nn.Module):
        super().__init__()
        self.trunk, self.eye = Trunk(), eye

    def forward(self, pixel_values):
        return self.eye(self.trunk(pixel_values))


def restored(checkpoint: Path):
    """(model, region encoder), both in eval mode with weights as the bundle stores them, and the
    checkpoint."""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    vocab = state["model"]["lxmert.lxmert.embeddings.word_embeddings.weight"].shape[0]
    model = Model(state["config"]["model"], vocab)
    model.load_state_dict(state["model"])
    as_stored(model)
    return model, RegionEncoder(model.eye).eval(), state


def main():
    args = arguments(__doc__, "lxmert-mini")
    torch.manual_seed(1)
    model, encoder, state = restored(args.checkpoint)
    with mini_bundle(args, "lxmert", SIZE) as b:
        lxmert.export(model.lxmert, b, attention=False)
        b.add_graph("region_encoder", GraphSpec(
            encoder,
            lambda s: {"pixel_values": (torch.rand(s["regions"], 3, SIZE, SIZE) - MEAN) / STD},
            ["visual_feats"],
            {"pixel_values": ["regions", 3, SIZE, SIZE],
             "visual_feats": ["regions", model.lxmert.config.visual_feat_dim]},
            {"regions": 2}, [{"regions": 1}, {"regions": 5}]))
        b.add_json("tokenizer_config.json", {
            "tokenizer_class": "BertTokenizerFast", "do_lower_case": True, "cls_token": "[CLS]", "sep_token": "[SEP]",
            "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]", "model_max_length": MAX_TEXT})
        b.add_json("config.json", model.lxmert.config.to_diff_dict())
        b.add_json("labels.json", list(ANSWERS))
        b.meta["limits"] = {"max_text": MAX_TEXT, "regions": REGIONS}
        b.meta["region_margin"] = MARGIN
        b.meta["training"] = {"config": state["config"], "checkpoint_step": state["step"]}


if __name__ == "__main__":
    main()
