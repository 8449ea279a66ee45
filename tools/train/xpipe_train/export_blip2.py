"""Checkpoint -> bundle: python -m xpipe_train.export_blip2 CHECKPOINT OUT. The graphs, their check
against torch and the files are the work of tools/export; here is only what a mini model is made
of."""
from pathlib import Path

import torch
from xpipe_export.families import blip2

from . import SIZE
from .data import CELL_COLOURS, CELL_NAMES
from .encoder import GRID, Encoder
from .mini_export import arguments, as_stored, mini_bundle
from .model import Blip2Mini, MiniConfig, Vision
from .text import ANSWER, CAPTION, IDS

MAX_NEW_TOKENS = 20


def shaped(config: dict, weights: dict, encoder: Encoder) -> Blip2Mini:
    """A model of the shape that a config and weights have; the weights are not loaded."""
    c = MiniConfig(**config["model"])
    c.emoji, c.vocab = len(weights["concepts.emoji.weight"]), len(weights["lm.model.decoder.embed_tokens.weight"])
    c.cell_names, c.cell_colours = CELL_NAMES, CELL_COLOURS
    return Blip2Mini(c, weights["words.words"], weights["neck.names"], weights["neck.colours"], encoder.classifier, IDS)


def restored(checkpoint: Path):
    """(model in eval mode, whole vision encoder, config) of a checkpoint."""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    config, weights = state["config"], state["model"]
    encoder = Encoder()
    model = shaped(config, weights, encoder)
    if model.c.balance != 1:
        raise SystemExit("the exported decoder knows no balance between the modalities: only 1 can "
                         "be exported")
    model.load_state_dict(weights)
    as_stored(model)
    return model, Vision(encoder, model.neck, model.concepts, model.words, model.table).eval(), config


def config_json(model: Blip2Mini) -> dict:
    """config.json as Blip2Config writes it; the vision part describes the encoder in its own
    words."""
    return {"model_type": "blip-2", "architectures": ["Blip2ForConditionalGeneration"],
            "num_query_tokens": model.c.prefix, "vision_config": {
                "model_type": "efficientnet-lite0-concepts", "image_size": SIZE,
                "hidden_size": model.c.width},
            "qformer_config": model.qformer.config.to_diff_dict(),
            "text_config": model.lm.config.to_diff_dict()}


def main():
    args = arguments(__doc__, "blip2-mini")
    model, vision, config = restored(args.checkpoint)
    state = torch.load(args.checkpoint, weights_only=False, map_location="cpu")
    with mini_bundle(args, "blip2", SIZE) as b:
        blip2.add_parts(b, vision=vision, image_size=SIZE, qformer=model.qformer, query_tokens=model.query_tokens,
                        language_projection=model.language_projection, language_model=model.lm, image_places=True)
        b.add_json("tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
            "pad_token": "<pad>", "clean_up_tokenization_spaces": False})
        b.add_json("config.json", config_json(model))
        b.add_json("generation_config.json", {
            "bos_token_id": IDS["bos"], "eos_token_id": IDS["eos"], "pad_token_id": IDS["pad"],
            "max_new_tokens": MAX_NEW_TOKENS})
        b.meta["tasks"] = ["caption", "answer"]
        b.meta["prompts"] = {"caption": CAPTION, "answer": ANSWER}
        b.meta["limits"] = {"max_positions": model.c.positions}
        b.meta["patches"] = {"grids": [[int(GRID ** 0.5)] * 2], "passed": model.c.concept_tokens}
        b.meta["training"] = {"config": config, "checkpoint_step": state["step"],
                              "started_from": state.get("history", [])}


if __name__ == "__main__":
    main()
