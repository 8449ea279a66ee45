"""What the exports of the four models have in common: their arguments, the files every bundle has,
the weights' rounding."""
import argparse
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from xpipe_export.bundle import Bundle

from .encoder import MEAN, STD


def arguments(doc: str, name: str) -> argparse.Namespace:
    """CHECKPOINT OUT [--tokenizer FILE] [--name NAME]; sets torch to one thread."""
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("out", type=Path)
    ap.add_argument("--tokenizer", type=Path, help="default: tokenizer.json beside the checkpoint")
    ap.add_argument("--name", default=name)
    args = ap.parse_args()
    args.tokenizer = args.tokenizer or args.checkpoint.with_name("tokenizer.json")
    torch.set_num_threads(1)
    return args


def preprocessor(side: int) -> dict:
    """preprocessor_config.json of the frozen encoder, for pictures of side x side pixels."""
    return {"image_processor_type": "BlipImageProcessor", "do_convert_rgb": True,
            "do_resize": True, "size": {"height": side, "width": side}, "resample": 3,
            "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [MEAN] * 3, "image_std": [STD] * 3}


def as_stored(module: nn.Module) -> nn.Module:
    """module in eval mode, its parameters rounded to what the bundle stores: torch and the graphs
    then compute with the same numbers."""
    for p in module.parameters():
        p.data = p.data.half().float()
    return module.eval()


@contextmanager
def mini_bundle(args: argparse.Namespace, family: str, side: int):
    """The bundle at args.out with the tokenizer and the preprocessor in it; says its size when it
    is written. A Go file there, which embeds the bundle in programs, stays."""
    go = {p.name: p.read_bytes() for p in args.out.glob("*.go")}
    with Bundle(args.out, name=args.name, family=family, dtype="fp16", source="tools/train", overwrite=True) as bundle:
        bundle.add_file("tokenizer.json", args.tokenizer)
        bundle.add_json("preprocessor_config.json", preprocessor(side))
        yield bundle
    for name, source in go.items():
        (args.out / name).write_bytes(source)
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.out}: {total / 1e6:.1f} MB")
