"""python -m xpipe_export.golden.encdec_layouts [--out DIR] [--only NAME ...]: encoder-decoder
models in the layouts of other tools, with what they should write.

Tiny seeded models of the real classes, exported by optimum-onnx, laid out as transformers.js and
optimum lay them out: names of files, inputs and outputs are theirs, no xpipe.json. Each folder's
golden.json has the ids of PyTorch's generate for float32, and of ONNX Runtime for each variant.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import transformers as tf
from onnx.external_data_helper import set_external_data
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from optimum.exporters.onnx import main_export
from optimum.onnx import merge_decoders

from . import core, encdec_family, tokens
from .blip_family import QUESTIONS, load_images
from .core import Golden
from .encdec_family import PAGE, SQUARE, TAGS, TASK

SMALL = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json",
         "tokenizer_config.json", "special_tokens_map.json")


def donut(tokenizer) -> tuple:
    """optimum takes the cache's layers and heads from the keys about an encoder."""
    encoder, decoder = encdec_family.donut(tokenizer)
    decoder.encoder_layers, decoder.encoder_attention_heads = decoder.decoder_layers, 4
    return encoder, decoder


def page() -> tf.DonutImageProcessor:
    return tf.DonutImageProcessor(size=PAGE)


def square() -> tf.ViTImageProcessor:
    return tf.ViTImageProcessor(size=SQUARE)


FOLDERS = {
    # name: (configs, tokenizer, first id of the decoder, prompts, image processor, first seed,
    #        graphs, variants)
    "vit-gpt2-transformersjs": (
        encdec_family.vit_gpt2, tokens.gpt2, "<|endoftext|>", ["", "a photo of", ""], square, 42,
        ("onnx", ["encoder_model", "decoder_model_merged"]), ["fp16", "quantized", "q4"]),
    "trocr-optimum": (
        encdec_family.trocr, tokens.roberta, "</s>", ["", "", ""], square, 67,
        ("", ["encoder_model", "decoder_model", "decoder_with_past_model"]), []),
    "donut-transformersjs": (
        donut, lambda: tokens.xlm_roberta(TAGS), "<s>",
        [TASK, f"<s_docvqa><s_question>{QUESTIONS[0]}</s_question><s_answer>", TASK], page, 91,
        ("onnx", ["encoder_model", "decoder_model_merged"]), ["fp16"]),
}


def bare(graph, names: dict[str, str] | None = None) -> None:
    """Drop notes and shorten names, most of so small a graph, in branches too. Those of inputs and
    outputs stay."""
    names = {} if names is None else names
    kept = {v.name for v in (*graph.input, *graph.output)}

    def short(name: str) -> str:
        if name and name not in kept:
            return names.setdefault(name, f"v{len(names)}")
        return name

    for w in graph.initializer:
        w.name = short(w.name)
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [short(n) for n in node.output]
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                bare(a.g, dict(names))
    del graph.value_info[:]


def save(model: onnx.ModelProto, path: Path) -> None:
    bare(model.graph)
    del model.metadata_props[:]
    onnx.save(model, path)


def external(path: Path) -> None:
    """Move a graph's weights to path_data."""
    model = onnx.load(path)
    for w in model.graph.initializer:
        if len(w.raw_data) >= 64:
            set_external_data(w, path.name + "_data")
    path.unlink()
    onnx.save(model, path)
    path.with_name(path.name + "_data").chmod(0o644)


def variant(kind: str, source: Path, target: Path) -> None:
    """Store a graph as transformers.js' scripts do."""
    if kind == "fp16":
        model = onnx.load(source)
        shown = [v.name for v in (*model.graph.input, *model.graph.output)]
        keep = [n for n in shown if not n.startswith(("past_key_values", "present"))]
        model = convert_float_to_float16(model, keep_io_types=keep, disable_shape_infer=True)
        ordered = OnnxModel(model)  # the converter sets casts of inputs behind what reads them
        ordered.topological_sort()
        model = ordered.model
    elif kind == "quantized":
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, reduce_range=True,
                         extra_options={"EnableSubgraph": True})
        model = onnx.load(target)
    else:
        model = onnx.load(source)
        quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True)
        quantizer.process()
        model = quantizer.model.model
    save(model, target)


class Files:
    """A folder's graphs on ONNX Runtime, decoded greedily: what a variant should write. The
    decoder is one whose only graph has a branch for the first step."""

    def __init__(self, folder: Path, suffix: str):
        def session(name):
            return onnxruntime.InferenceSession(folder / "onnx" / f"{name}{suffix}.onnx",
                                                providers=["CPUExecutionProvider"])

        self.encoder, self.decoder = session("encoder_model"), session("decoder_model_merged")

    def greedy(self, pixels: np.ndarray, start: list[int], count: int) -> tuple[list[int], float]:
        """New ids, and the least distance between the two best logits of a step."""
        states = self.encoder.run(None, {"pixel_values": pixels})[0]
        feeds = {"encoder_hidden_states": states, "use_cache_branch": np.array([False])}
        for i in self.decoder.get_inputs():
            if i.name.startswith("past"):
                kind = np.float16 if "16" in i.type else np.float32
                feeds[i.name] = np.zeros((1, i.shape[1], 0, i.shape[3]), kind)
        names = [o.name for o in self.decoder.get_outputs()]
        ids, new, gap = start, [], np.inf
        for step in range(count):
            feeds["input_ids"] = np.array([ids], np.int64)
            out = dict(zip(names, self.decoder.run(None, feeds)))
            for n, v in out.items():
                if n.startswith("present") and not (step and ".encoder." in n):
                    feeds[n.replace("present", "past_key_values")] = v
            feeds["use_cache_branch"] = np.array([True])
            last = out["logits"][0, -1].astype(np.float64)
            best = np.sort(last)
            gap = min(gap, best[-1] - best[-2])
            ids = [int(last.argmax())]
            new += ids
        return new, gap


def build(name: str, out: Path, images: list[Path]) -> None:
    configs, make_tokenizer, first, texts, make_processor, seed, (sub, graphs), variants = FOLDERS[name]
    kind = name.split("-")[0]
    work = Path(tempfile.mkdtemp())

    def attempt(seed: int) -> None:
        shutil.rmtree(work, ignore_errors=True)
        golden = Golden(work / "golden", "encdec", seed)
        golden.data["script"] = f"python -m xpipe_export.golden.encdec_layouts --only {name}"
        tokenizer = make_tokenizer()
        model = tf.VisionEncoderDecoderModel(
            tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*configs(tokenizer)))
        start = model.config.decoder_start_token_id = tokenizer.convert_tokens_to_ids(first)
        model.config.pad_token_id = tokenizer.pad_token_id
        model.generation_config = tf.GenerationConfig.from_model_config(model.config)
        core.randomise(model, seed)
        core.randomise(model.decoder, seed + 1000, gain=1.6 if kind == "trocr" else 1.8, embed=0.4)
        embedding = model.decoder.get_input_embeddings()
        embedding.weight.data /= getattr(embedding, "embed_scale", 1.0)
        own = model.decoder if kind == "vit" else model.decoder.get_decoder()
        table = own.transformer.wpe if kind == "vit" else own.embed_positions
        table.weight.data *= 3  # or the text repeats itself
        checkpoint = work / "checkpoint"
        core.save_rounded(model, checkpoint)
        tokenizer.save_pretrained(checkpoint)
        processor = make_processor()
        processor.save_pretrained(checkpoint)
        model = tf.VisionEncoderDecoderModel.from_pretrained(
            checkpoint, attn_implementation="eager").eval()
        # a forced last token is a case of its own, below
        forced = model.generation_config.forced_eos_token_id
        model.generation_config.forced_eos_token_id = None
        pixels = processor(load_images(images), return_tensors="pt").pixel_values
        prompts = [tokenizer(t, add_special_tokens=False).input_ids for t in texts]

        def generate(rows, **parameters):
            given = torch.tensor([prompts[r] for r in rows], dtype=torch.int64)
            call = {"decoder_input_ids": given} if given.numel() else {}
            made = model.generate(pixel_values=pixels[rows], **call, **parameters)
            began = 0 if kind == "donut" else 1
            return made.sequences[:, began + given.shape[1]:], made

        alike = len({len(p) for p in prompts}) == 1
        core.generations(golden, generate, tokenizer.decode, batch=alike)
        # as the checkpoint's own generation_config.json says, with no prompt
        model.generation_config.forced_eos_token_id = forced
        plain = model.generate(pixel_values=pixels[:1], max_new_tokens=core.NEW_TOKENS)
        golden.data["unprompted"] = plain[0, 1:].tolist()
        began = [p if kind == "donut" else [start, *p] for p in prompts]
        golden.data["rows"] = [
            {"image": images[i].name, "text": texts[i], "decoder_input_ids": began[i]}
            for i in range(core.ROWS)]
        for part in ("arrays", "bundle"):
            del golden.data[part]
        golden.data["versions"] |= {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}

        main_export(str(checkpoint), str(work / "export"), task="image-to-text-with-past",
                    do_validation=False)
        folder = work / "folder"
        (folder / sub).mkdir(parents=True)
        for file in SMALL:
            shutil.copyfile(work / "export" / file, folder / file)
        shrink(folder)
        for g in graphs:
            save(onnx.load(work / "export" / f"{g}.onnx"), folder / sub / f"{g}.onnx")
        golden.data["variants"] = {}
        for v in variants:
            for g in graphs:
                write_variant(work, folder, g, v)
            files, ids = Files(folder, f"_{v}"), []
            for i in range(core.ROWS):
                new, gap = files.greedy(pixels[i:i + 1].numpy(), began[i], core.NEW_TOKENS)
                if gap < (core.MIN_GAP if v == "q4" else 5e-3):
                    raise core.Unsuitable(f"{v}: row {i}: gap {gap:.2g}")
                ids.append(new)
            golden.data["variants"][v] = ids
        if kind == "donut":
            external(folder / sub / "decoder_model_merged.onnx")
        (folder / "golden.json").write_text(json.dumps(golden.data, ensure_ascii=False,
                                                       default=core._plain) + "\n")

    core.search(attempt, seed)
    target = out / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "folder", target)
    shutil.rmtree(work)


def write_variant(work: Path, folder: Path, graph: str, kind: str) -> None:
    """Converters do not reach into branches alike, so a merged decoder's halves are converted
    before they are merged, as transformers.js' scripts do for what they cannot convert whole."""
    target = folder / "onnx" / f"{graph}_{kind}.onnx"
    if graph != "decoder_model_merged":
        variant(kind, work / "export" / f"{graph}.onnx", target)
        return
    halves = []
    for half in ("decoder_model", "decoder_with_past_model"):
        halves.append(work / f"{half}_{kind}.onnx")
        variant(kind, work / "export" / f"{half}.onnx", halves[-1])
        model = onnx.load(halves[-1])
        keep = dict(rename_inputs=False, rename_outputs=False, rename_initializers=False)
        onnx.save(onnx.compose.add_prefix(model, f"{half}/", **keep), halves[-1])
    made = work / f"merged_{kind}.onnx"
    merge_decoders(*halves, strict=False, save_path=made)
    save(onnx.load(made), target)


def shrink(folder: Path) -> None:
    """Write JSON files without indentation."""
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.encdec_layouts")
    parser.add_argument("--out", type=Path,
                        default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", choices=list(FOLDERS), default=list(FOLDERS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as tmp:
        images = core.make_images(Path(tmp))  # those of testdata/families/images
        for name in args.only:
            build(name, args.out, images)
            files = [p for p in (args.out / name).rglob("*") if p.is_file()]
            print(f"{name}: {sum(p.stat().st_size for p in files) / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
