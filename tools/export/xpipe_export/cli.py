"""xpipe-export CHECKPOINT --out BUNDLE: the command."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import Callable, NamedTuple

import torch
import transformers

from . import adapter, checkpoint, ctranslate2, endtoend, memory, program, translate, widen
from .bundle import Bundle
from .families import (blip, blip2, bridgetower, clap, clip, florence2, gemma3, git, idefics, idefics2, idefics3, llava, lxmert,
                       mllama, naflex, open_flamingo, paligemma, pix2struct, qwen_vl, vilt, vision_encoder_decoder, whisper)
from .families.common import Front, cleans_spaces, copy_checkpoint_files, load_front, resolve
from .graph import OPSETS, ExportError
from .weights import DTYPES


class Family(NamedTuple):
    """How checkpoints of one class of transformers are exported."""

    name: str
    """The bundle's family."""
    export: Callable[[torch.nn.Module, Bundle, bool], None]
    """Given the model, the bundle, and whether attention maps are wanted."""
    load_as: str | None = None
    """The class it is loaded as, where that is another."""
    finish: Callable[[Bundle, Path, str | None], None] | None = None
    """What is left to do with the checkpoint's folder and --labels."""
    pictures: bool = True
    """Whether it reads pictures, and so needs an image processor."""
    qformer: bool = False
    """Whether it has a second tokenizer, for the Q-Former."""
    end_to_end: Callable[[torch.nn.Module, Front], Callable[[Path, str], dict]] | None = None
    """Asks the model before any part is replaced; what it gives compares the written bundle (folder,
    dtype) with the answer. endtoend.reference where it is None."""


FAMILIES = {
    "Blip2ForConditionalGeneration": Family("blip2", blip2.export),
    "Blip2ForImageTextRetrieval": Family("blip2", blip2.export),
    "InstructBlipForConditionalGeneration": Family("blip2", blip2.export, qformer=True),
    "BlipForConditionalGeneration": Family("blip", blip.export),
    "BlipForQuestionAnswering": Family("blip", blip.export),
    "BlipForImageTextRetrieval": Family("blip", blip.export),
    "IdeficsForVisionText2Text": Family("flamingo", idefics.export),
    "CLIPModel": Family("clip", clip.export),
    "SiglipModel": Family("clip", clip.export),
    "Siglip2Model": Family("clip", clip.export, end_to_end=naflex.end_to_end),
    "ClapModel": Family("clap", clap.export, pictures=False, end_to_end=clap.end_to_end),
    "LxmertForQuestionAnswering": Family("lxmert", lxmert.export, finish=lxmert.add_labels,
                                         pictures=False),
    # the released checkpoint keeps its answer head under pre-training
    "LxmertForPreTraining": Family("lxmert", lxmert.export, "LxmertForQuestionAnswering",
                                   lxmert.add_labels, pictures=False),
    "ViltForQuestionAnswering": Family("vilt", vilt.export, finish=lxmert.add_labels, end_to_end=vilt.end_to_end),
    "VisionEncoderDecoderModel": Family("encdec", vision_encoder_decoder.export),
    "Pix2StructForConditionalGeneration": Family("encdec", pix2struct.export, end_to_end=pix2struct.end_to_end),
    "MllamaForConditionalGeneration": Family("mllama", mllama.export, end_to_end=mllama.end_to_end),
    "BridgeTowerForImageAndTextRetrieval": Family("bridgetower", bridgetower.export,
                                                  end_to_end=bridgetower.end_to_end),
    "BridgeTowerForContrastiveLearning": Family("clip", bridgetower.export, end_to_end=bridgetower.end_to_end),
    "Florence2ForConditionalGeneration": Family("florence", florence2.export, end_to_end=florence2.end_to_end),
    "WhisperForConditionalGeneration": Family("whisper", whisper.export, pictures=False,
                                              end_to_end=whisper.end_to_end),
    "LlavaForConditionalGeneration": Family("llava", llava.export),
    "LlavaNextForConditionalGeneration": Family("llava", llava.export_next),
    "LlavaOnevisionForConditionalGeneration": Family("llava", llava.export_onevision),
    "Idefics2ForConditionalGeneration": Family("llava", idefics2.export),
    "Idefics3ForConditionalGeneration": Family("llava", idefics3.export),
    "SmolVLMForConditionalGeneration": Family("llava", idefics3.export),
    "Qwen2VLForConditionalGeneration": Family("llava", qwen_vl.export),
    "Qwen2_5_VLForConditionalGeneration": Family("llava", qwen_vl.export),
    "PaliGemmaForConditionalGeneration": Family("llava", paligemma.export),
    "Gemma3ForConditionalGeneration": Family("llava", gemma3.export),
    "GitForCausalLM": Family("llava", git.export),
}
"""By the class that config.json names."""


def export_checkpoint(source: str, out: str, *, dtype: str = "fp32", opset: int = 17,
                      attention_maps: bool = False, name: str | None = None,
                      overwrite: bool = False, progress: bool = True, labels: str | None = None,
                      lang_encoder: str | None = None, vision_encoder: str | None = None,
                      reader: Path | None = None, named: str | None = None) -> dict:
    """Write the checkpoint source (a directory or a hub id) as a bundle at out, and let reader, the
    xpipe program, try it; named is what the provenance calls the source. Returns what is in xpipe.json. Raises ExportError, FileNotFoundError."""
    settings = {"name": name or Path(out).name, "dtype": dtype, "opset": opset,
                "source": named or name or Path(str(source)).name, "overwrite": overwrite,
                "progress": progress, "consume": True, "reader": reader}
    with ctranslate2.as_checkpoint(resolve(str(source))) as path:
        return _export(path, out, settings, attention_maps, labels, lang_encoder, vision_encoder)


def _export(path: Path, out: str, settings: dict, attention_maps: bool, labels: str | None,
            lang_encoder: str | None, vision_encoder: str | None) -> dict:
    """Export a directory in transformers' naming, OpenFlamingo's or PEFT's."""
    if open_flamingo.is_checkpoint(path):
        with _bundle(out, "flamingo", settings) as bundle:
            bundle.meta |= {"model_type": "open_flamingo", "architecture": "OpenFlamingo"}
            if attention_maps:
                bundle.meta["attention_maps"] = True
            lang, vision = (Path(p) if p else None for p in (lang_encoder, vision_encoder))
            open_flamingo.export(path, bundle, attention_maps, lang, vision)
        return bundle.meta
    lora = adapter.Adapter(path) if (path / adapter.CONFIG).is_file() else None
    if lora:
        path = lora.base
    if not (path / "config.json").is_file():
        raise ExportError(f"{path} has no config.json: not a transformers checkpoint")
    config = checkpoint.read_json(path / "config.json")
    named = checkpoint.architectures(config)
    kind = next((a for a in named if a in FAMILIES), None)
    if kind is None:
        raise ExportError(f"{path}/config.json names {named}; known are {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    checkpoint.check_files(path, config, family.pictures, family.qformer)
    with (widen.widened(path, Path(out).absolute().parent) as wide,
          translate.translated(wide, config) as place):
        # 5 reads some texts otherwise than 4.57 (the first word behind a special token of Llama's
        # tokenizer); which of the two a bundle follows is what the tokenizer was saved by.
        saved = config["transformers_version"] if translate.saved_by_5(path) else transformers.__version__
        settings["reads_like"] = f"transformers {saved}"
        return _export_loaded(place, kind, settings, out, attention_maps, labels, lora)


def _bundle(out: str, family: str, settings: dict) -> Bundle:
    reader = settings.pop("reader")
    bundle = Bundle(out, family=family, **settings)
    if reader:
        bundle.try_out = lambda folder: program.try_out(reader, folder)
    return bundle


def _export_loaded(path: Path, kind: str, settings: dict, out: str, attention_maps: bool,
                   labels: str | None, lora: adapter.Adapter | None) -> dict:
    """Export a directory that transformers 4.57 can load as the class kind."""
    family = FAMILIES[kind]
    front = load_front(path, kind, family.pictures, family.qformer)
    reads_like = settings.pop("reads_like")
    with _bundle(out, family.name, settings) as bundle:
        bundle.meta["tokenizer_follows"] = reads_like
        bundle.meta["model_type"] = checkpoint.read_json(path / "config.json").get("model_type")
        bundle.meta["architecture"] = kind
        if family.name != "whisper" and cleans_spaces(front.tokenizer, reads_like):
            bundle.meta["clean_up_spaces"] = True
        if attention_maps:
            bundle.meta["attention_maps"] = True
        cls = getattr(transformers, family.load_as or kind)
        model, info = cls.from_pretrained(path, dtype=torch.float32, attn_implementation="eager",
                                          key_mapping=translate.renamed(path, cls),
                                          output_loading_info=True, ignore_mismatched_sizes=True)
        if wrong := info["mismatched_keys"]:
            raise ExportError(f"{path}: {len(wrong)} weights have other sizes than config.json says: "
                              f"{', '.join(sorted(wrong)[:4])}")
        if missing := translate.settle(model, path, sorted(info["missing_keys"])):  # transformers would start them at random and say so in passing
            raise ExportError(f"{path} lacks {len(missing)} of the weights of {cls.__name__}: "
                              f"{', '.join(missing[:4])}")
        if lora:
            lora.merge(model)
        model.eval()
        memory.stream(model, checkpoint.weight_files(path))
        copy_checkpoint_files(bundle, path, front)
        if family.end_to_end:
            compare = family.end_to_end(model, front)
            bundle.verify = lambda folder: compare(folder, bundle.dtype)
        elif answers := endtoend.reference(model, front):
            bundle.verify = lambda folder: endtoend.check(folder, answers, bundle.dtype)
        family.export(model, bundle, attention_maps)
        if family.finish:
            family.finish(bundle, path, labels)
    return bundle.meta


def cost(meta: dict) -> str:
    """What storing weights in fewer bits costs, in words."""
    found = meta["provenance"]["graphs"]
    said = [f"{role} {g['rounding_abs_diff']:.2g}" for role, g in found.items() if "rounding_abs_diff" in g]
    text = f"{meta['dtype']}: largest differences of outputs by storage: {', '.join(said)}"
    if whole := meta["provenance"].get("end_to_end"):
        kind = "tokens" if "tokens" in whole else "answers"
        text += f"; of the pipeline's logits {whole['max_abs_diff']:.2g} ({100 * whole['max_rel_diff']:.2g} % of their range)"
        if "same_best" in whole:
            text += f", the best is the same in {whole['same_best']} of {whole[kind]} {kind}"
    return text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="xpipe-export",
        description="Export a Hugging Face vision-language checkpoint to an xpipe bundle.",
        epilog="EXIT STATUS: 0 written and verified; 1 not exported (one line says why); 2 usage.")
    parser.add_argument("checkpoint", help="directory, or id on the hub")
    parser.add_argument("--out", required=True, help="bundle directory to write")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32",
                        help="how weights are stored (default fp32); int8 and int4 in blocks of 32, with "
                             "what that costs printed; with -fp16 as small as can be")
    parser.add_argument("--attention-maps", action="store_true", help="attention probabilities as extra outputs")
    parser.add_argument("--opset", type=int, default=17, choices=OPSETS, metavar="N", help="17 to 20 (default 17)")
    parser.add_argument("--name", help="name in xpipe.json (default: that of the bundle directory)")
    parser.add_argument("--labels", metavar="FILE", help="lxmert: names of the answers, a JSON "
                                                         "list or one a line")
    parser.add_argument("--lang-encoder", metavar="DIR",
                        help="open_flamingo: the language model (default: CHECKPOINT/lang_encoder)")
    parser.add_argument("--vision-encoder", metavar="DIR",
                        help="open_flamingo: the CLIP (default: CHECKPOINT/vision_encoder)")
    parser.add_argument("--force", action="store_true", help="replace an existing bundle")
    parser.add_argument("--no-run", action="store_true",
                        help="do not try the bundle with xpipe (XPIPE, on the path, or build/xpipe)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--debug", action="store_true",
                        help="say where an error came from, with Python's trace")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: torch's own)")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    memory.return_blocks()
    memory.drop(memory.libraries())  # of which importing has read most for the only time
    try:
        reader = None if args.no_run else program.find()
        meta = export_checkpoint(
            args.checkpoint, args.out, dtype=args.dtype, opset=args.opset,
            attention_maps=args.attention_maps, name=args.name, overwrite=args.force,
            progress=not args.quiet, labels=args.labels, lang_encoder=args.lang_encoder,
            vision_encoder=args.vision_encoder, reader=reader)
        if args.dtype != "fp32":
            print(cost(meta))
        if not reader and not args.no_run:
            print("xpipe-export: no xpipe program found (XPIPE, on the path, build/xpipe): the bundle is "
                  "verified, but not tried", file=sys.stderr)
    except Exception as e:  # files of others raise whatever the library that reads them does
        if args.debug:
            traceback.print_exc()
        kind = "" if isinstance(e, (RuntimeError, OSError, ValueError)) else f"{type(e).__name__}: "
        print(f"xpipe-export: {kind}{' '.join(str(e).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
