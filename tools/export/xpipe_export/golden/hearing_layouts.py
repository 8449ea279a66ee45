"""python -m xpipe_export.golden.hearing_layouts [--out DIR] [--only NAME ...]: Whisper as
transformers.js and optimum lay it out, with what they write for given features.

Tiny seeded models of the real classes, exported by optimum-onnx. Whisper's decoders show their
cross-attention, as those of repositories named _timestamped do.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import transformers as tf
from onnx import TensorProto, helper
from optimum.exporters.onnx import main_export
from optimum.onnx import merge_decoders

from . import core
from .encdec_layouts import save, shrink, variant
from .seeing_layouts import STEPS, Graphs
from .whisper_family import FRAMES, MELS, begins, features, seeded

NEW = 12
KINDS = {"whisper": ["fp16", "quantized", "q4", "q4f16"]}


def watched(path: Path) -> None:
    """Add cross_attentions.{i}, what repositories named _timestamped have."""
    model = onnx.load(path)
    found = [n for n in model.graph.node if n.op_type == "Softmax" and "encoder_attn" in n.name]
    for i, node in enumerate(found):
        name = f"cross_attentions.{i}"
        model.graph.node.append(helper.make_node("Identity", [node.output[0]], [name]))
        model.graph.output.append(helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch_size", 2, "decoder_sequence_length", "encoder_sequence_length"]))
    if len(found) != 2:
        raise RuntimeError(f"{path.name}: {len(found)} cross-attentions")
    onnx.save(model, path)


def merged(first: Path, later: Path, target: Path) -> None:
    halves = []
    for half in (first, later):
        keep = dict(rename_inputs=False, rename_outputs=False, rename_initializers=False)
        halves.append(half.with_name(f"prefixed-{half.name}"))
        onnx.save(onnx.compose.add_prefix(onnx.load(half), f"{half.stem}/", **keep), halves[-1])
    merge_decoders(*halves, strict=False, save_path=target)
    save(onnx.load(target), target)


class Files:
    """A folder's graphs on ONNX Runtime, decoded greedily."""

    def __init__(self, folder: Path, suffix: str):
        self.encoder, self.decoder = (Graphs.session(folder / f"{n}{suffix}.onnx") for n in ("encoder_model", "decoder_model_merged"))

    def greedy(self, given: dict, start: list[int], generation) -> tuple[list[int], list[float]]:
        states = self.encoder.run(None, given)[0]
        fed = {"encoder_hidden_states": states, "use_cache_branch": np.array([False])}
        for i in self.decoder.get_inputs():
            if i.name.startswith("past"):
                fed[i.name] = np.zeros((1, i.shape[1], 0, i.shape[3]), np.float16 if "16" in i.type else np.float32)
        names, ids, new, gaps = [o.name for o in self.decoder.get_outputs()], start, [], []
        for step in range(NEW):
            fed["input_ids"] = np.array([ids], np.int64)
            out = dict(zip(names, self.decoder.run(None, fed)))
            fed |= {n.replace("present", "past_key_values"): v for n, v in out.items()
                    if n.startswith("present") and not (step and ".encoder." in n)}
            fed["use_cache_branch"] = np.array([True])
            last = out["logits"][0, -1].astype(np.float64)
            last[(generation.suppress_tokens or []) + ((generation.begin_suppress_tokens or []) if step == 0 else [])] = -np.inf
            best = np.sort(last)
            gaps.append(best[-1] - best[-2])
            ids = [int(last.argmax())]
            if ids[0] == generation.eos_token_id:
                break
            new += ids
        return new, gaps


def build(kind: str, out: Path, first: int) -> None:
    folder = out / f"{kind}-transformersjs"

    def attempt(seed: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            work = Path(tmp)
            model, generation, tokenizer = seeded(seed, work / "checkpoint")
            given = features()
            (name, values), = given.items()
            starts, made = [], []
            for i in range(3):
                one = values[i:i + 1]
                start = begins(model, one)
                plain = copy.deepcopy(model.generation_config)
                plain.forced_decoder_ids = None
                # not Whisper's own generate, which goes on to a next segment
                whole = tf.GenerationMixin.generate(model, **{name: one}, decoder_input_ids=torch.tensor([start]),
                                                    generation_config=plain, max_new_tokens=NEW, do_sample=False)
                starts.append(start)
                made.append(whole[0, len(start):].tolist())
            end, rows = generation.eos_token_id, []
            main_export(str(work / "checkpoint"), str(work / "export"), task="automatic-speech-recognition-with-past", do_validation=False, nb_max_frames=FRAMES)
            folder.mkdir(parents=True)
            (folder / "onnx").mkdir()
            for file in ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
                shutil.copyfile(work / "export" / file, folder / file)
            shrink(folder)
            halves = [work / "export" / f"{n}.onnx" for n in ("decoder_model", "decoder_with_past_model")]
            if kind == "whisper":
                for half in halves:
                    watched(half)
            encoder = work / "export" / "encoder_model.onnx"
            save(onnx.load(encoder), folder / "onnx" / "encoder_model.onnx")
            merged(*halves, folder / "onnx" / "decoder_model_merged.onnx")
            for half in halves if kind == "whisper" else []:
                save(onnx.load(half), folder / "onnx" / half.name)
            for v in KINDS[kind]:
                targets = []
                for path in (encoder, *halves):
                    targets.append(work / f"{path.stem}_{v}.onnx")
                    for step in (["q4", "fp16"] if v == "q4f16" else [v]):
                        variant(step, targets[-1] if step == "fp16" and v == "q4f16" else path, targets[-1])
                shutil.copyfile(targets[0], folder / "onnx" / targets[0].name)
                merged(targets[1], targets[2], folder / "onnx" / f"decoder_model_merged_{v}.onnx")
            variants = {}
            for v in ["", *KINDS[kind]]:
                files, ids = Files(folder / "onnx", f"_{v}" if v else ""), []
                for i in range(3):
                    start, new = starts[i], [t for t in made[i] if t != end]
                    got, gaps = files.greedy({name: values[i:i + 1].numpy()}, start, generation)
                    if v:
                        got = got[:next((k for k, g in enumerate(gaps) if g < STEPS[v]), NEW)]
                    elif min(gaps) < core.MIN_GAP:
                        raise core.Unsuitable(f"{v} gap {min(gaps):.2g}")
                    if not v:
                        if got != new:
                            raise RuntimeError(f"ONNX Runtime {got}, PyTorch {new}")
                        if len(new) < 6 or len(set(new)) < 4:
                            raise core.Unsuitable(f"dull: {new}")
                        rows.append({"start": start, "ids": new, "text": tokenizer.decode(new, skip_special_tokens=True)})
                    else:
                        ids.append(got)
                if v:
                    variants[v] = ids
            if len({tuple(r["ids"]) for r in rows}) < 3 or kind == "whisper" and len({r["start"][1] for r in rows}) < 2:
                raise core.Unsuitable("rows alike")
            if any(sum(map(len, ids)) < 12 for ids in variants.values()):
                raise core.Unsuitable("near ties")
            about = {"script": f"python -m xpipe_export.golden.hearing_layouts --only {kind}", "seed": seed,
                     "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__}}
            shape, flat = list(values.shape), [float(v) for v in values.flatten()]
            (folder / "golden.json").write_text(json.dumps(about | {
                "input": name, "shape": shape, "values": flat, "rows": rows, "variants": variants}, ensure_ascii=False) + "\n")

    seed = core.search(attempt, first)
    print(folder.name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.hearing_layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", choices=list(KINDS), default=list(KINDS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    for kind in args.only:
        build(kind, args.out, 1)


if __name__ == "__main__":
    main()
