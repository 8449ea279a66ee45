"""Golden outputs of clip-mini in torch: python -m xpipe_train.clip_golden CHECKPOINT OUT --images
DIR.

OUT/golden.json lists cases of both graphs with their .npy files, in the layout that
engine/enginetest reads, and what becomes of pictures and texts: the digests of the pixels that
transformers makes, the tokenizers library's ids, embeddings, probabilities.
"""
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import BlipImageProcessor

from . import SIZE
from .encoder import Encoder
from .export_clip import Vision, restored
from .golden_cases import Cases, arguments, size, versions
from .mini_export import preprocessor

TEXTS = ["apple", "a photo of a dog", "Umbrella", "guitar", "a slice of pizza", "rocket",
         "a red circle", "blue triangle",
         "something else altogether, with more words: caf\u00e9, 42!"]
PIXELS = "../blip2-mini/vision_encoder/0/pixel_values.npy"
"""One picture's pixels that are in the repository already, seen from OUT."""


def png(folder: Path) -> list[Path]:
    """The pictures that decode to the same pixels everywhere; JPEGs do not."""
    return sorted(folder.glob("*.png"))


def digest(pixels: torch.Tensor) -> str:
    """SHA-256 of pixels [3,H,W] as little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(pixels.numpy(), "<f4").tobytes()).hexdigest()


class TextEncoder(nn.Module):
    """input_ids -> what transformers' own CLIPTextModel pools. The graph is of the exporter's
    wrapper."""

    def __init__(self, text: nn.Module):
        super().__init__()
        self.text = text

    def forward(self, input_ids):
        return self.text(input_ids=input_ids).pooler_output


@torch.no_grad()
def main():
    args = arguments(__doc__, "clip-mini")
    model, state = restored(args.checkpoint)
    vision, text = Vision(Encoder()).eval(), TextEncoder(model.text_model).eval()
    cases, tokenizer = Cases(args.out, args.bundle), Tokenizer.from_file(str(args.tokenizer))
    rows = [tokenizer.encode(t).ids for t in TEXTS]
    longest, end = max(map(len, rows)), model.c.vocab - 1
    ids = torch.tensor([r + [end] * (longest - len(r)) for r in rows])

    cases.add("vision_encoder", "vision_encoder", lambda x: vision(x)[0],
              {"pixel_values": torch.tensor(np.load(args.out / PIXELS))},
              ["pooled_output"], given={"pixel_values": PIXELS})
    for some in (ids[:1], ids):
        cases.add("text_encoder", "text_model", text, {"input_ids": some}, ["pooled_output"])

    files = png(args.images)
    processor = BlipImageProcessor(**{k: v for k, v in preprocessor(SIZE).items() if k != "image_processor_type"})
    pixels = processor([Image.open(f) for f in files], return_tensors="pt").pixel_values
    images = F.normalize(model.visual_projection(vision(pixels)[0]), dim=-1)
    texts = F.normalize(model.text_projection(text(ids)), dim=-1)
    chances = (images @ texts.T * state["config"]["scale"]).softmax(-1)
    (args.out / "golden.json").write_text(json.dumps({
        "made_by": "tools/train/xpipe_train/clip_golden.py, PyTorch restored from the bundle "
                   "(xpipe_train.restore)",
        "checkpoint_step": state["step"], "versions": versions(), "cases": cases.list,
        "images": [{"image": f.name, "pixels_sha256": digest(p), "embedding": e.tolist(), "probabilities": c.tolist()}
                   for f, p, e, c in zip(files, pixels, images, chances)],
        "texts": [{"text": t, "ids": r, "embedding": e.tolist()} for t, r, e in zip(TEXTS, rows, texts)]}) + "\n")
    for f, c in zip(files, chances):
        print(f.name, {t: round(v, 3) for t, v in zip(TEXTS, c.tolist()) if v > 0.05})
    print(size(args.out))


if __name__ == "__main__":
    main()
