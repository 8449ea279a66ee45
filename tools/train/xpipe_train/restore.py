"""Bundle -> checkpoint: python -m xpipe_train.restore BUNDLE OUT. For blip2-mini: its graphs keep the names of the weights, so
that the bundle can be exported again, or trained on (`train --from`), where the checkpoint it came from is gone. Weights come back as the bundle
stores them, in float16's precision; the contrastive heads, which only training reads, start afresh."""
import argparse
import json
import shutil
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file

from .encoder import Encoder
from .export_blip2 import shaped
from .model import Blip2Mini, with_gate

NOT_IN_GRAPHS = ("text_head.", "image_head.", "temperature")


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    """The graphs' weights by their names in Blip2Mini."""
    found = {k: v.float() for k, v in load_file(bundle / "projection.safetensors").items()}
    for path in sorted((bundle / "onnx").glob("*.onnx")):
        for tensor in onnx.load(path).graph.initializer:
            name, value = tensor.name.removesuffix(".fp16"), numpy_helper.to_array(tensor)
            if name.endswith(".transposed"):
                name, value = name.removesuffix(".transposed"), value.T
            found[name.removeprefix("vision.")] = torch.tensor(value.astype("float32") if value.dtype.kind == "f" else value)
    found["concepts.classifier.weight"], found["concepts.classifier.bias"] = found["encoder.classifier.weight"], found["encoder.classifier.bias"]
    found["lm.lm_head.weight"] = found["lm.model.decoder.embed_tokens.weight"]
    return found


def model_of(bundle: Path) -> tuple[Blip2Mini, dict]:
    """(the model, the manifest's "training")."""
    found, training = with_gate(weights(bundle)), json.loads((bundle / "xpipe.json").read_text())["training"]
    model = shaped(training["config"], found, Encoder())
    own = model.state_dict()
    missing = [k for k in own if k not in found and not k.startswith(NOT_IN_GRAPHS)]
    if missing:
        raise SystemExit(f"{bundle}: no weights {missing[:5]} ({len(missing)} in all): not a bundle that xpipe_train.export_blip2 made")
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
                "history": training["started_from"]}, args.out)
    shutil.copy(args.bundle / "tokenizer.json", args.out.with_name("tokenizer.json"))


if __name__ == "__main__":
    main()
