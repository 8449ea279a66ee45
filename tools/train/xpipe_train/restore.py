"""Bundle -> checkpoint: python -m xpipe_train.restore BUNDLE OUT. For blip2-mini, clip-mini and
flamingo-mini: their graphs keep the names of the weights, so that a bundle can be exported again,
or trained on (`train --from`), where the checkpoint it came from is gone. Weights come back as the
bundle stores them, in float16's precision; what only training reads (contrastive heads, free
vectors) starts afresh."""
import argparse
import json
import shutil
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import nn

from . import export_blip2
from .encoder import Encoder
from .flamingo import FlamingoConfig, blank
from .tasks.clip import Clip, ClipConfig


def stored(bundle: Path) -> dict[str, dict[str, torch.Tensor]]:
    """{file without its ending: {name in the graph: weight}}, the projection's among them under
    "projection"."""
    found: dict[str, dict] = {"projection": {}}
    if (bundle / "projection.safetensors").exists():
        found["projection"] = {k: v.float() for k, v in load_file(bundle / "projection.safetensors").items()}
    for path in sorted((bundle / "onnx").glob("*.onnx")):
        weights = found[path.stem] = {}
        for tensor in onnx.load(path).graph.initializer:
            name, value = tensor.name.removesuffix(".fp16"), numpy_helper.to_array(tensor)
            if name.endswith(".transposed"):
                name, value = name.removesuffix(".transposed"), value.T
            weights[name] = torch.tensor(value.astype("float32") if value.dtype.kind == "f" else value)
    return found


def blip2(graphs: dict, config: dict) -> tuple[nn.Module, dict]:
    found = {k.removeprefix("vision."): v for weights in graphs.values() for k, v in weights.items()}
    found["concepts.classifier.weight"], found["concepts.classifier.bias"] = (
        found["encoder.classifier.weight"], found["encoder.classifier.bias"])
    found["lm.lm_head.weight"] = found["lm.model.decoder.embed_tokens.weight"]
    return export_blip2.shaped(config, found, Encoder()), found


def clip(graphs: dict, config: dict) -> tuple[nn.Module, dict]:
    found = {f"text_model.text_model.{k.removeprefix('text.')}": v for k, v in graphs["text_model"].items()}
    c = ClipConfig(**config["model"])
    c.vocab = len(found["text_model.text_model.embeddings.token_embedding.weight"])
    projection = dict(graphs["projection"])
    projection["logit_scale"] = projection["logit_scale"][0]
    return Clip(c, 1), found | projection


def flamingo(graphs: dict, config: dict) -> tuple[nn.Module, dict]:
    c = FlamingoConfig(**config["model"])
    table = graphs["embed_tokens"]["embedding.weight"]
    c.vocab = len(table)
    found = {k.replace("decoder.lm.", "lang_encoder.", 1): v for k, v in graphs["decoder_model_merged"].items()}
    found |= {k.replace("resampler.", "perceiver.", 1): v for k, v in graphs["resampler"].items()}
    for k, v in graphs["cross_kv"].items():
        name = k.replace("blocks.", "lang_encoder.gpt_neox.layers.", 1)
        found[name.replace(".attn.", ".gated_cross_attn_layer.attn.", 1)] = v
    found |= {k.replace("encode.cells.", "vision_encoder.", 1): v for k, v in graphs["vision_encoder"].items()}
    return blank(c), found | {"lang_encoder.gpt_neox.embed_in.weight": table}


FAMILIES = {
    # family: (model of the right shape and the weights found for it, beginnings of the names that
    # only training reads)
    "blip2": (blip2, ("text_head.", "image_head.", "temperature")),
    "clip": (clip, ("vectors", "sharpness")),
    "flamingo": (flamingo, ()),
}


def model_of(bundle: Path) -> tuple[nn.Module, dict]:
    """(the model, the manifest's "training")."""
    manifest = json.loads((bundle / "xpipe.json").read_text())
    if manifest["family"] not in FAMILIES:
        raise SystemExit(f"{bundle}: family {manifest['family']} cannot be restored, only "
                         f"{', '.join(FAMILIES)}")
    make, afresh = FAMILIES[manifest["family"]]
    training = manifest["training"]
    model, found = make(stored(bundle), training["config"])
    own = model.state_dict()
    missing = [k for k in own if k not in found and not k.startswith(afresh)]
    if missing:
        raise SystemExit(
            f"{bundle}: no weights {missing[:5]} ({len(missing)} in all): not a bundle that xpipe_train made")
    model.load_state_dict({k: found.get(k, v) for k, v in own.items()})
    return model, training


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("bundle", type=Path)
    ap.add_argument("out", type=Path, help="a .pt; tokenizer.json is laid beside it")
    args = ap.parse_args()
    model, training = model_of(args.bundle)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": training["config"], "model": model.state_dict(), "step": training["checkpoint_step"],
                "history": training.get("started_from", training.get("history", []))}, args.out)
    shutil.copy(args.bundle / "tokenizer.json", args.out.with_name("tokenizer.json"))


if __name__ == "__main__":
    main()
