"""Checkpoint -> bundle of lxmert-mini: python -m xpipe_train.export_lxmert CHECKPOINT OUT.

`model` is tools/export's own LXMERT graph; `region_encoder` is the frozen trunk and the trained Eye in one.
"""
import argparse
from pathlib import Path

import torch
from torch import nn
from xpipe_export.bundle import Bundle
from xpipe_export.families import lxmert
from xpipe_export.graph import GraphSpec

from .encoder import MEAN, STD
from .lxmert_crops import MARGIN, SIZE, Trunk
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
    """(model, region encoder), both in eval mode with weights as the bundle stores them, and the checkpoint."""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    vocab = state["model"]["lxmert.lxmert.embeddings.word_embeddings.weight"].shape[0]
    model = Model(state["config"]["model"], vocab)
    model.load_state_dict(state["model"])
    for p in model.parameters():
        p.data = p.data.half().float()
    model.eval()
    return model, RegionEncoder(model.eye).eval(), state


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("out", type=Path)
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model, encoder, state = restored(args.checkpoint)
    with Bundle(args.out, name="lxmert-mini", family="lxmert", dtype="fp16", source="tools/train", overwrite=True) as b:
        lxmert.export(model.lxmert, b, attention=False)
        b.add_graph("region_encoder", GraphSpec(
            encoder, lambda s: {"pixel_values": (torch.rand(s["regions"], 3, SIZE, SIZE) - MEAN) / STD}, ["visual_feats"],
            {"pixel_values": ["regions", 3, SIZE, SIZE], "visual_feats": ["regions", model.lxmert.config.visual_feat_dim]},
            {"regions": 2}, [{"regions": 1}, {"regions": 5}]))
        b.add_file("tokenizer.json", args.checkpoint.with_name("tokenizer.json"))
        b.add_json("tokenizer_config.json", {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True, "cls_token": "[CLS]", "sep_token": "[SEP]",
                                             "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]", "model_max_length": MAX_TEXT})
        b.add_json("config.json", model.lxmert.config.to_diff_dict())
        b.add_json("labels.json", list(ANSWERS))
        b.add_json("preprocessor_config.json", {
            "image_processor_type": "BlipImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"height": SIZE, "width": SIZE},
            "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [MEAN] * 3, "image_std": [STD] * 3})
        b.meta["limits"] = {"max_text": MAX_TEXT, "regions": REGIONS}
        b.meta["region_margin"] = MARGIN
        b.meta["training"] = {"config": state["config"], "checkpoint_step": state["step"]}
    print(f"{args.out}: {sum(p.stat().st_size for p in args.out.rglob('*') if p.is_file()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
