"""Checkpoint -> bundle: python -m xpipe_train.export_flamingo CHECKPOINT OUT. The graphs and their check against torch are
the work of tools/export, and the modules are its own for OpenFlamingo."""
import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from xpipe_export.bundle import Bundle
from xpipe_export.families import flamingo, open_flamingo
from xpipe_export.families.causal import embed_spec

from . import SIZE
from .encoder import GRID, MEAN, STD, Encoder
from .flamingo import ANSWER, CAPTION, END, IDS, MEDIA, PAD, FlamingoConfig, Vision, blank

MAX_NEW_TOKENS = 16


def restored(checkpoint: Path):
    """(model in eval mode, its configuration, checkpoint)"""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    c = FlamingoConfig(**state["config"]["model"])
    c.vocab = len(state["model"]["lang_encoder.gpt_neox.embed_in.weight"])
    model = blank(c)
    model.load_state_dict(state["model"])
    for p in model.parameters():  # what the bundle stores, so that torch and the graphs compute with the same numbers
        p.data = p.data.half().float()
    return model.eval(), c, state


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("out", type=Path)
    ap.add_argument("--name", default="flamingo-mini")
    args = ap.parse_args()
    torch.set_num_threads(1)
    model, c, state = restored(args.checkpoint)
    tokenizer = args.checkpoint.with_name("tokenizer.json")
    assert Tokenizer.from_file(str(tokenizer)).get_vocab_size() == c.vocab
    lm, seen = model.lang_encoder, model.perceiver.latents.shape[1]
    with Bundle(args.out, name=args.name, family="flamingo", dtype="fp16", source="tools/train", overwrite=True) as b:
        b.add_graph("vision_encoder", flamingo.vision_spec(Vision(Encoder(), model.vision_encoder).eval(), SIZE))
        b.add_graph("resampler", flamingo.resampler_spec(model.perceiver, seen))
        b.add_graph("cross_kv", flamingo.cross_kv_spec(open_flamingo.CrossKV(model.blocks), seen, len(model.blocks), c.cross_heads, c.cross_width // c.cross_heads))
        b.add_graph("embed_tokens", embed_spec(lm.get_input_embeddings(), c.vocab))
        b.add_graph("decoder", open_flamingo.decoder_spec(model, False))
        b.add_file("tokenizer.json", tokenizer)
        b.add_json("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": PAD, "additional_special_tokens": [MEDIA],
                                             "padding_side": "left", "clean_up_tokenization_spaces": False})
        b.add_json("config.json", {"model_type": "open_flamingo", "lang_encoder": lm.config.to_diff_dict(),
                                   "vision_encoder": {"model_type": "efficientnet-lite0-cells", "image_size": SIZE, "hidden_size": seen},
                                   "heads": c.cross_heads, "vision_tokens": "all", "media_token_id": IDS["media"], "eoc_token_id": IDS["end"]})
        b.add_json("generation_config.json", {"eos_token_id": IDS["end"], "pad_token_id": IDS["pad"], "max_new_tokens": MAX_NEW_TOKENS})
        b.add_json("preprocessor_config.json", {
            "image_processor_type": "BlipImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"height": SIZE, "width": SIZE},
            "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [MEAN] * 3, "image_std": [STD] * 3})
        b.meta |= {"variant": "openflamingo", "tasks": ["answer", "converse"], "tokens_per_image": model.tokens, "cross_layers": model.numbers,
                   "prompts": {"caption": CAPTION, "answer": ANSWER},
                   "markup": {"begin": "", "image": MEDIA, "next_image": MEDIA, "end": END, "add_special_tokens": False},
                   "media": {"token": MEDIA, "reset_after_eos": False}, "limits": {"max_positions": c.positions},
                   "patches": {"before": 0, "grids": [[int(GRID ** 0.5)] * 2]},
                   "training": {"config": state["config"], "history": state["history"], "checkpoint_step": state["step"]}}
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.out}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
