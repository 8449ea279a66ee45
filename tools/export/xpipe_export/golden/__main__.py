"""python -m xpipe_export.golden [--out DIR] [--only NAME ...]: the tiny bundles and golden
files."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

from ..cli import export_checkpoint
from . import (blip_family, bridgetower_family, clap_family, core, dual_family, encdec_family, flamingo_family, florence_family,
               git_family, image_tokens_family, mllama_family, pix2struct_family, vilt_family,
               whisper_family)

FAMILIES = {
    # name: (family of the bundle, maker, first seed, attention maps in the graphs, weight storage)
    "blip2-opt": ("blip2", blip_family.blip2_generation("blip2-opt"), 2, True, "fp32"),
    "blip2-t5": ("blip2", blip_family.blip2_generation("blip2-t5"), 2, False, "fp16"),
    "blip2-itm": ("blip2", blip_family.blip2_itm, 1, False, "fp16"),
    "instructblip": ("blip2", blip_family.blip2_generation("instructblip"), 1, False, "fp16"),
    "blip-caption": ("blip", blip_family.blip_generation("blip-caption"), 6, False, "fp16"),
    "blip-vqa": ("blip", blip_family.blip_generation("blip-vqa"), 7, False, "fp16"),
    "blip-itm": ("blip", blip_family.blip_itm, 1, False, "fp16"),
    "idefics": ("flamingo", flamingo_family.idefics(resampler=True), 4, True, "fp16"),
    "idefics-plain": ("flamingo", flamingo_family.idefics(resampler=False), 6, False, "fp16"),
    "openflamingo-opt": ("flamingo", flamingo_family.open_flamingo("opt"), 37, True, "fp16"),
    "openflamingo-neox": ("flamingo", flamingo_family.open_flamingo("neox"), 1, False, "fp16"),
    "openflamingo-mpt": ("flamingo", flamingo_family.open_flamingo("mpt"), 1, False, "fp16"),
    "clip": ("clip", dual_family.clip(legacy_eos=False), 1, True, "fp16"),
    "clip-legacy": ("clip", dual_family.clip(legacy_eos=True), 1, False, "fp16"),
    "siglip": ("clip", dual_family.siglip, 1, True, "fp16"),
    "siglip2-naflex": ("clip", dual_family.naflex, 1, False, "fp16"),
    "clap": ("clap", clap_family.clap(fused=False), 1, False, "fp16"),
    "clap-fused": ("clap", clap_family.clap(fused=True), 1, False, "fp16"),
    "lxmert-vqa": ("lxmert", dual_family.lxmert(31), 1, True, "fp16"),
    "lxmert-gqa": ("lxmert", dual_family.lxmert(19), 1, False, "fp16"),
    "vilt-vqa": ("vilt", vilt_family.vilt, 31, False, "fp16"),
    "vit-gpt2": ("encdec", encdec_family.generation("vit-gpt2"), 3, True, "fp16"),
    "trocr": ("encdec", encdec_family.generation("trocr"), 16, False, "fp16"),
    "donut": ("encdec", encdec_family.generation("donut"), 1, False, "fp16"),
    "pix2struct": ("encdec", pix2struct_family.pix2struct, 1, True, "fp16"),
    "mllama": ("mllama", mllama_family.mllama, 2, True, "fp16"),
    "bridgetower-itm": ("bridgetower", bridgetower_family.bridgetower("itm"), 1, True, "fp16"),
    "bridgetower-itc": ("clip", bridgetower_family.bridgetower("itc"), 1, False, "fp16"),
    "florence2": ("florence", florence_family.florence, 4, True, "fp16"),
    "whisper": ("whisper", whisper_family.whisper, 11, True, "fp16"),
    "llava": ("llava", image_tokens_family.generation("llava"), 1, True, "fp16"),
    "llava-next": ("llava", image_tokens_family.generation("llava-next"), 1, False, "fp16"),
    "llava-onevision": ("llava", image_tokens_family.generation("llava-onevision"), 1, False, "fp16"),
    "idefics2": ("llava", image_tokens_family.generation("idefics2"), 1, False, "fp16"),
    "idefics3": ("llava", image_tokens_family.generation("idefics3"), 1, False, "fp16"),
    "smolvlm": ("llava", image_tokens_family.generation("smolvlm"), 1, False, "fp32"),
    "qwen2-vl": ("llava", image_tokens_family.generation("qwen2-vl"), 1, False, "fp16"),
    "qwen2_5-vl": ("llava", image_tokens_family.generation("qwen2_5-vl"), 1, False, "fp16"),
    "paligemma": ("llava", image_tokens_family.generation("paligemma"), 1, False, "fp16"),
    "gemma3": ("llava", image_tokens_family.generation("gemma3"), 1, False, "fp16"),
    "git": ("llava", git_family.git, 1, False, "fp16"),
}


def build(name: str, out: Path, images: list[Path]) -> None:
    family, make, first, maps, dtype = FAMILIES[name]
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)

        def attempt(seed: int) -> None:
            shutil.rmtree(work / "golden", ignore_errors=True)
            shutil.rmtree(work / "checkpoint", ignore_errors=True)
            golden = core.Golden(work / "golden", family, seed)
            golden.data["script"] = f"{core.SCRIPT} --only {name}"
            make(seed, work / "checkpoint", golden, images)
            golden.write()
            export_checkpoint(str(work / "checkpoint"), str(work / "golden" / "bundle"),
                              name=f"tiny-{name}", attention_maps=maps, dtype=dtype, progress=False)
            meta = json.loads((work / "golden" / "bundle" / "xpipe.json").read_text())
            worst = max(meta["provenance"]["max_abs_diff"].values())
            if worst > core.MAX_DIFF:
                raise core.Unsuitable(f"a graph differs by {worst} in absolute terms")

        core.search(attempt, first)
        if name in ("idefics", "openflamingo-opt"):
            flamingo_family.zero_gates(work / "checkpoint", work / "golden" / "decoder_gates0.onnx", dtype)
        target = out / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(work / "golden", target)



def main() -> int:
    parser = argparse.ArgumentParser(prog=core.SCRIPT)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "families")
    parser.add_argument("--only", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums come out the same on every machine with the same kernels
    transformers.utils.logging.set_verbosity_error()
    images = core.make_images(args.out / "images")
    for name in args.only:
        started = time.time()
        build(name, args.out, images)
        size = sum(p.stat().st_size for p in (args.out / name).rglob("*") if p.is_file())
        print(f"{name}: {size / 1024:.0f} KiB, {time.time() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
