"""Checkpoint -> bundle: python -m xpipe_train.export_flamingo CHECKPOINT OUT. The graphs and their
check against torch are the work of tools/export, and the modules are its own for OpenFlamingo."""
from pathlib import Path

import torch
from tokenizers import Tokenizer
from xpipe_export.families import flamingo, open_flamingo
from xpipe_export.families.causal import embed_spec

from . import SIZE
from .encoder import GRID, Encoder
from .flamingo import ANSWER, CAPTION, END, IDS, MEDIA, PAD, FlamingoConfig, Vision, blank
from .mini_export import arguments, as_stored, mini_bundle

MAX_NEW_TOKENS = 16


def restored(checkpoint: Path):
    """(model in eval mode, its configuration, checkpoint)"""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    c = FlamingoConfig(**state["config"]["model"])
    c.vocab = len(state["model"]["lang_encoder.gpt_neox.embed_in.weight"])
    model = blank(c)
    model.load_state_dict(state["model"])
    return as_stored(model), c, state


def main():
    args = arguments(__doc__, "flamingo-mini")
    model, c, state = restored(args.checkpoint)
    assert Tokenizer.from_file(str(args.tokenizer)).get_vocab_size() == c.vocab
    lm, seen = model.lang_encoder, model.perceiver.latents.shape[1]
    with mini_bundle(args, "flamingo", SIZE) as b:
        b.add_graph("vision_encoder", flamingo.vision_spec(Vision(Encoder(), model.vision_encoder).eval(), SIZE))
        b.add_graph("resampler", flamingo.resampler_spec(model.perceiver, seen))
        b.add_graph("cross_kv", flamingo.cross_kv_spec(
            open_flamingo.CrossKV(model.blocks), seen, len(model.blocks), c.cross_heads,
            c.cross_width // c.cross_heads))
        b.add_graph("embed_tokens", embed_spec(lm.get_input_embeddings(), c.vocab))
        b.add_graph("decoder", open_flamingo.decoder_spec(model, False))
        b.add_json("tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": PAD,
            "additional_special_tokens": [MEDIA], "padding_side": "left", "clean_up_tokenization_spaces": False})
        b.add_json("config.json", {
            "model_type": "open_flamingo", "lang_encoder": lm.config.to_diff_dict(),
            "vision_encoder": {"model_type": "efficientnet-lite0-cells", "image_size": SIZE, "hidden_size": seen},
            "heads": c.cross_heads, "vision_tokens": "all", "media_token_id": IDS["media"], "eoc_token_id": IDS["end"]})
        b.add_json("generation_config.json", {
            "eos_token_id": IDS["end"], "pad_token_id": IDS["pad"], "max_new_tokens": MAX_NEW_TOKENS})
        b.meta |= {"variant": "openflamingo", "tasks": ["answer", "converse"],
                   "tokens_per_image": model.tokens, "cross_layers": model.numbers,
                   "prompts": {"caption": CAPTION, "answer": ANSWER},
                   "markup": {"begin": "", "image": MEDIA, "next_image": MEDIA, "end": END,
                              "add_special_tokens": False},
                   "media": {"token": MEDIA, "reset_after_eos": False},
                   "limits": {"max_positions": c.positions},
                   "patches": {"before": 0, "grids": [[int(GRID ** 0.5)] * 2]},
                   "training": {"config": state["config"], "history": state["history"],
                                "checkpoint_step": state["step"]}}


if __name__ == "__main__":
    main()
