"""python -m xpipe_export.sweep make|resave|check FOLDER [--kinds NAME ...] [--seeds FROM TO] [--odd]

make writes checkpoints by the transformers it runs on, and what that answers; resave loads those of
4.57 and saves them again (run it on 5); check exports all that are there, and compares what the
bundles answer on both engines. ../../README.md has the commands.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from PIL import Image

from ..golden import clap_family, core
from . import answers, kinds, odd, seeing
from .draw import FIVE, Draw, save_tokenizers
from .kinds import Kind, Made

KINDS = {
    "blip-caption": Kind(kinds.blip(tf.BlipForConditionalGeneration), "caption"),
    "blip-vqa": Kind(kinds.blip(tf.BlipForQuestionAnswering), "ask"),
    "blip-itm": Kind(kinds.blip(tf.BlipForImageTextRetrieval), "match"),
    **{f"blip2-{n}": Kind(kinds.blip2(n), "write") for n in kinds.LANGUAGES},
    "blip2-itm": Kind(kinds.blip2_match, "match"),
    **{f"instructblip-{n}": Kind(kinds.blip2(n, instruct=True), "write") for n in ("opt", "t5", "llama")},
    "idefics": Kind(kinds.idefics, "write"),
    "clip": Kind(kinds.clip, "match"), "siglip": Kind(kinds.siglip, "match"),
    "siglip2-naflex": Kind(kinds.naflex, "match"),
    "clap": Kind(kinds.clap, "sounds"),
    "lxmert": Kind(kinds.lxmert, "regions"), "vilt": Kind(kinds.vilt, "answer"),
    "pix2struct": Kind(kinds.pix2struct, "caption"),
    **{n: Kind(kinds.encdec(n), "caption") for n in ("vit-gpt2", "swin-gpt2", "trocr")},
    "donut": Kind(kinds.encdec("donut"), "write"),
    "mllama": Kind(kinds.mllama, "write"),
    "bridgetower-itm": Kind(kinds.bridgetower(False), "match"), "bridgetower-itc": Kind(kinds.bridgetower(True), "match"),
    "florence2": Kind(kinds.florence, "write"),
    "whisper": Kind(kinds.whisper, "hear"),
    **{f"llava-{n}": Kind(seeing.llava(n), "write") for n in seeing.TEXTS},
    "llava-next": Kind(seeing.llava("mistral", squares=True), "write"),
    "llava-onevision": Kind(seeing.onevision, "write"), "idefics2": Kind(seeing.idefics2, "write"),
    "idefics3": Kind(seeing.tiles(False), "write"), "smolvlm": Kind(seeing.tiles(True), "write"),
    "qwen2-vl": Kind(seeing.qwen(False), "write"), "qwen2_5-vl": Kind(seeing.qwen(True), "write"),
    "paligemma": Kind(seeing.paligemma(False), "write"), "paligemma2": Kind(seeing.paligemma(True), "write"),
    "gemma3": Kind(seeing.gemma3, "write"), "git": Kind(seeing.git, "write"),
}


def rows(kind: Kind, folder: Path, root: Path) -> list[dict]:
    """What transformers answers with the checkpoint in folder: for each row the verb and what comes out, or
    why nothing does."""
    model = answers.load(folder)
    front = answers.Front(folder, model)
    out = []

    def add(command: list[str], run) -> None:
        try:
            out.append({"command": command, **run()})
        except Exception as e:  # what transformers cannot do either
            out.append({"command": command, "fails": f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"})

    if kind.task == "regions":
        file = root / "regions.npz"
        for question in answers.QUESTIONS:
            add(["ask", "picture.png", question, "--regions", str(file)],
                lambda: {"logprobs": answers.regions(model, front, file, question)})
        return out
    for file in sorted((root / "sounds").glob("*.wav")) if kind.task == "sounds" else ():
        add(["match", str(file), *answers.TEXTS], lambda: {"probabilities": answers.match_sound(model, folder, front, file, answers.TEXTS)})
    for file in sorted((root / "speech").glob("*.wav")) if kind.task == "hear" else ():
        for flags, asked in answers.hearings(model):
            add(["transcribe", str(file), *answers.PLAIN, *flags], lambda: answers.transcribe(model, folder, file, asked))
    for file in sorted((root / "images").glob("*.png")) if kind.task not in ("sounds", "hear") else ():
        picture = Image.open(file).convert("RGB")
        if kind.task == "match":
            add(["match", str(file), *answers.TEXTS],
                lambda: {"probabilities": answers.match(model, front, picture, answers.TEXTS)})
            continue
        for question in answers.QUESTIONS if kind.task == "answer" else ():
            add(["ask", str(file), question], lambda: {"logprobs": answers.vilt(model, front, picture, question)})
        if kind.task in ("caption", "write"):
            add(["caption", str(file)], lambda: answers.write(model, front, picture, None))
        for question in answers.QUESTIONS if kind.task in ("ask", "write") else ():
            add(["ask", str(file), question], lambda: answers.write(model, front, picture, question))
    return out


def place(root: Path, name: str, seed: int, saved: str) -> Path:
    return root / f"{name}-{seed}" / saved


def make(root: Path, name: str, seed: int, strange: bool = False) -> None:
    folder = place(root, name, seed, "5" if FIVE else "4")
    draw = Draw(name, seed, root / "tokenizers")
    torch.manual_seed(seed)
    if strange:
        made = stranger(name, seed, draw)
    else:
        made = KINDS[name].make(draw)
    shutil.rmtree(folder, ignore_errors=True)
    kinds.save(made, folder / "checkpoint", draw.saving())
    del made
    answer(root, name, folder)


def stranger(name: str, seed: int, draw: Draw) -> Made:
    """A checkpoint with settings of odd.py."""
    with odd.drawn(name, seed) as d:
        made = KINDS[name].make(draw)
    for part in made.parts:
        part = part[0] if isinstance(part, tuple) else part
        images = getattr(part, "image_processor", part)
        if hasattr(images, "image_mean"):
            odd.prepare(d, images)
    writes = KINDS[name].task in ("caption", "write", "hear") or made.keys
    return made._replace(keys=odd.generation(d, made.keys)) if writes else made


def resave(root: Path, name: str, seed: int) -> None:
    """Load what 4.57 saved, and save it again, as users of 5 do who change nothing."""
    before, folder = place(root, name, seed, "4") / "checkpoint", place(root, name, seed, "4+5")
    target = folder / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    config = json.loads((before / "config.json").read_text())
    cls = getattr(tf, (config.get("architectures") or config["text_config"]["architectures"])[0])
    cls.from_pretrained(before).save_pretrained(target)
    tf.AutoTokenizer.from_pretrained(before).save_pretrained(target)
    if (before / "qformer_tokenizer").is_dir():
        tf.AutoTokenizer.from_pretrained(before / "qformer_tokenizer").save_pretrained(target / "qformer_tokenizer")
    if (before / "processor_config.json").is_file():
        tf.AutoProcessor.from_pretrained(before).save_pretrained(target)
    elif name in ("whisper", "clap"):
        tf.AutoFeatureExtractor.from_pretrained(before).save_pretrained(target)
    elif (before / "preprocessor_config.json").is_file():
        answers.images(before).save_pretrained(target)
    answer(root, name, folder)


def answer(root: Path, name: str, folder: Path) -> None:
    found = {"transformers": tf.__version__, "rows": rows(KINDS[name], folder / "checkpoint", root)}
    (folder / "expected.json").write_text(json.dumps(found, indent=1))


def prepare(root: Path) -> None:
    """Pictures, regions and tokenizers that all checkpoints share."""
    if (root / "tokenizers").is_dir():
        return
    core.make_images(root / "images")
    clap_family.write_sounds(root / "sounds")
    answers.write_speech(root / "speech")
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 0.7, (36, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.3, (36, 2))], -1) * [640, 480, 640, 480]
    np.savez(root / "regions.npz", features=rng.gamma(0.6, 1.0, (36, 16)).astype(np.float32), boxes=boxes.astype(np.float32),
             image_w=640, image_h=480)
    save_tokenizers(root / "tokenizers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.sweep", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("make", "resave", "check"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 1), metavar=("FROM", "TO"))
    parser.add_argument("--odd", action="store_true", help="make: with settings that few checkpoints have")
    parser.add_argument("--saved", nargs="+", default=["4", "5", "4+5"], help="check: what was saved how")
    args = parser.parse_args()
    tf.utils.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if args.step == "make":
        prepare(args.folder)
    if args.step == "check":
        from . import check  # needs the exporter, which runs on 4.57

        return check.run(args.folder, args.kinds, range(*args.seeds), args.saved)
    failed = 0
    for name in args.kinds:
        for seed in range(*args.seeds):
            try:
                if args.step == "resave":
                    resave(args.folder, name, seed)
                else:
                    make(args.folder, name, seed, args.odd)
            except Exception as e:
                failed += 1
                print(f"{name}-{seed}: {args.step}: {type(e).__name__}: {' '.join(str(e).split())[:300]}", flush=True)
                if len(args.kinds) == 1:
                    traceback.print_exc()
            gc.collect()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
