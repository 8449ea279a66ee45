"""Checkpoint -> bundle: python -m xpipe_train.export_clip CHECKPOINT OUT."""
from pathlib import Path

import torch
from torch import nn
from xpipe_export.families.clip import Text
from xpipe_export.graph import GraphSpec

from . import SIZE
from .encoder import POOLED, Encoder
from .mini_export import arguments, as_stored, mini_bundle
from .tasks.clip import BOS, EOS, Clip, ClipConfig


class Vision(nn.Module):
    """pixel_values [B,3,224,224] -> pooled_output [B,1280], the square roots of the mean over
    last_hidden_state [B,49,1280]."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, pixel_values):
        e, x = self.encoder, pixel_values
        x = e.act(e.stem(x))
        for block in e.blocks:
            x = block(x)
        x = e.act(e.head(x))
        return x.mean((2, 3)).sqrt(), x.flatten(2).transpose(1, 2)


def restored(checkpoint: Path):
    """(model in eval mode, state) of a checkpoint, weights rounded as the bundle stores them."""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    c = ClipConfig(**state["config"]["model"])
    c.vocab = state["model"]["text_model.text_model.embeddings.token_embedding.weight"].shape[0]
    model = Clip(c, len(state["model"]["vectors"]))
    model.load_state_dict(state["model"])
    as_stored(model.text_model)
    return model.eval(), state


def main():
    args = arguments(__doc__, "clip-mini")
    model, state = restored(args.checkpoint)
    c, config = model.c, state["config"]
    end = c.vocab - 1

    def texts(s):
        ids = torch.randint(0, c.vocab - 2, (s["batch"], s["length"]))
        for row in range(s["batch"]):  # ends at different places, padding behind
            ids[row, max(1, s["length"] - 1 - row):] = end
        return {"input_ids": ids}

    with mini_bundle(args, "clip", SIZE) as b:
        b.add_graph("vision_encoder", GraphSpec(
            Vision(Encoder()), lambda s: {"pixel_values": torch.randn(s["batch"], 3, SIZE, SIZE)},
            ["pooled_output", "last_hidden_state"],
            {"pixel_values": ["batch", 3, SIZE, SIZE], "pooled_output": ["batch", POOLED],
             "last_hidden_state": ["batch", (SIZE // 32) ** 2, POOLED]},
            {"batch": 2}, [{"batch": 1}, {"batch": 3}]))
        b.add_graph("text_encoder", GraphSpec(
            Text(model.text_model.text_model), texts, ["pooled_output"],
            {"input_ids": ["batch", "length"], "pooled_output": ["batch", "width"]},
            {"batch": 2, "length": 5}, [{"batch": 1, "length": 7}, {"batch": 3, "length": 16}]))
        b.add_linear("visual_projection", model.visual_projection)
        b.add_linear("text_projection", model.text_projection)
        b.add_projection({"logit_scale": torch.tensor([config["scale"]]).log()})
        b.add_json("tokenizer_config.json", {
            "tokenizer_class": "CLIPTokenizerFast", "bos_token": BOS, "eos_token": EOS,
            "pad_token": EOS, "unk_token": EOS,
            "clean_up_tokenization_spaces": False, "model_max_length": c.positions})
        b.add_json("config.json", {
            "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": c.drawn + c.photo,
            "vision_config": {"model_type": "efficientnet-lite0", "image_size": SIZE, "hidden_size": POOLED},
            "text_config": model.text_model.config.to_diff_dict()})
        b.meta["tasks"] = ["classify", "match", "embed"]
        b.meta["scores"] = "softmax"
        b.meta["text_padding"] = "longest"
        b.meta["limits"] = {"max_text": c.positions}
        b.meta["prompts"] = {"classify": "{}"}
        b.meta["training"] = {"config": config, "checkpoint_step": state["step"]}


if __name__ == "__main__":
    main()
