"""python clients.py --program CLIENTS --node FOLDER: other clients run the folders of testdata, given the ids and pixels that
xpipe gives its graphs, and write the ids of golden.json, too (cases.py).

    optimum             ORTModelForVision2Seq, ...Whisper and ...CausalLM of optimum-onnx 0.1.0
    onnxruntime-genai   0.18.0
    transformers.js     4.2.0, by clients.mjs under node

Prints a table, and what differs; exits with 1 where anything does that KNOWN does not tell of.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime_genai as og
import torch
import transformers
from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSpeechSeq2Seq, ORTModelForVision2Seq

import cases
from cases import TESTDATA, TYPES, Case, Row

PLACES = "positions behind text alone run ahead, see findings/transformersjs-qwen-positions.sh"
CUT = "a text that is too long loses its end token, see findings/transformersjs-truncation.sh"
KNOWN = {
    ("transformers.js", "qwen2vl-transformersjs"): {3: PLACES},
    ("transformers.js", "qwen2_5vl-transformersjs"): {3: PLACES},
    ("transformers.js", "siglip2-transformersjs", "texts"): {5: CUT},
    ("transformers.js", "jina-clip-v1", "texts"): {5: CUT},
    ("transformers.js", "mobileclip-transformersjs", "texts"): {5: CUT},
}
"""Rows by client and folder, or its texts, whose results are known to be wrong, and why. They are held to be wrong still."""


def transformers_js(wanted: list[Case], node: Path) -> list[list[dict]]:
    def tensor(a: np.ndarray) -> dict:
        return {"type": str(a.dtype), "dims": a.shape, "data": base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()}

    def row(r: Row) -> dict:
        if "text" in r.given:
            return {"text": r.given["text"]}
        return {"given": {k: tensor(v) for k, v in r.given.items()}, "parameters": r.parameters}

    jobs = [{"folder": lifted(c.folder, node), "job": c.job, "dtype": TYPES.get(c.variant, c.variant) or "fp32", "count": c.new,
             "vectors": bool(c.tolerance), "rows": [row(r) for r in c.rows]} for c in wanted]
    (node / "cases.json").write_text(json.dumps(jobs))
    with open(node / "log", "w") as log:  # ONNX Runtime prints every error, transformers.js tensors, too
        subprocess.run(["node", "clients.mjs", "cases.json", "results.json"], cwd=node, check=True, stdout=log, stderr=log)
    return json.loads((node / "results.json").read_text())


def lifted(folder: str, node: Path) -> str:
    """The folder's path; for qwen2_vl a copy whose config.json has the text model's keys beside the others, where older
    transformers wrote them and transformers.js looks for them."""
    source = TESTDATA / folder
    config = json.loads((source / "config.json").read_text())
    if config["model_type"] != "qwen2_vl":
        return str(source)
    target = node / source.name
    shutil.copytree(source, target, dirs_exist_ok=True)
    (target / "config.json").write_text(json.dumps(config["text_config"] | config))
    return str(target)


def optimum(case: Case) -> list[dict]:
    with tempfile.TemporaryDirectory() as tmp:
        return optimum_in(named(TESTDATA / case.folder, case.variant, Path(tmp) / "model"), case)


def named(folder: Path, variant: str, target: Path) -> Path:
    """A copy with the files of one type alone, under the plain names: optimum takes a merged decoder of no other."""
    shutil.copytree(folder, target)
    if variant:
        for graph in target.rglob("*.onnx"):
            plain = graph.with_name(graph.name.replace(f"_{variant}.onnx", ".onnx"))
            if plain == graph:
                graph.unlink(missing_ok=True)
        for graph in target.rglob(f"*_{variant}.onnx"):
            graph.rename(graph.with_name(graph.name.replace(f"_{variant}.onnx", ".onnx")))
    return target


def optimum_in(folder: Path, case: Case) -> list[dict]:
    kind = ORTModelForVision2Seq
    if case.job == "AutoModelForCausalLM":
        kind = ORTModelForCausalLM
    elif case.job.startswith("Whisper"):
        kind = ORTModelForSpeechSeq2Seq
    names = {"file_name": "model.onnx"} if kind is ORTModelForCausalLM else {}
    model = kind.from_pretrained(folder, subfolder="onnx" if (folder / "onnx").exists() else "", use_cache=True, **names)
    plain, made = copy.deepcopy(model.generation_config), []
    for row in case.rows:
        given = {k: torch.from_numpy(v) for k, v in row.given.items()}
        for name, value in ({"forced_decoder_ids": None} | row.parameters).items():
            setattr(model.generation_config, name, value)
        # not Whisper's own generate, which goes on to a next segment
        out = transformers.GenerationMixin.generate(model, **given, max_new_tokens=case.new, do_sample=False, num_beams=1)
        model.generation_config = copy.deepcopy(plain)
        before = given.get("decoder_input_ids", given.get("input_ids", torch.zeros(1, 1))).shape[1]
        made.append({"made": out[0, before:].tolist()})
    return made


def genai(case: Case) -> list[dict]:
    """Text by ids; pictures by the pixels that xpipe makes."""
    model = og.Model(str(TESTDATA / case.folder))
    config = json.loads((TESTDATA / case.folder / "genai_config.json").read_text())["model"]
    made = []
    for row in case.rows:
        given = row.given["input_ids"][0]
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(given) + case.new, do_sample=False)
        generator = og.Generator(model, params)
        if model.type == "llama":
            generator.append_tokens(given)
        else:
            generator.set_inputs(tensors(row, config))
        while not generator.is_done():
            generator.generate_next_token()
        made.append({"made": list(map(int, generator.get_sequence(0)))[len(given):]})
    return made


def tensors(row: Row, config: dict) -> og.NamedTensors:
    """What the package's own processor gives."""
    made = og.NamedTensors()
    for name, value in row.given.items():
        if name != "attention_mask":
            made[name] = value.astype(np.int32) if name == "input_ids" else np.ascontiguousarray(value)
    if "pixel_values" in row.given:
        token = {"gemma3": 350}.get(config["type"], config.get("image_token_id", -1))
        made["num_image_tokens"] = np.array([(row.given["input_ids"] == token).sum()], np.int64)
    return made


def each(run, wanted: list[Case]) -> list[list[dict]]:
    made = []
    for case in wanted:
        try:
            made.append(run(case))
        except Exception as e:  # whatever the client raises is its answer
            made.append([{"error": f"{type(e).__name__}: {e}"}] * len(case.rows))
    return made


def report(client: str, wanted: list[Case], results: list[list[dict]]) -> int:
    """Print a line a case; returns how many rows are not as they should be."""
    bad = 0
    for case, rows in zip(wanted, results, strict=True):
        folder = case.folder.split("/")[1]
        wrong = {i: got.get("error") or case.wrong(i, got["made"]) for i, got in enumerate(rows)}
        wrong = {i: why for i, why in wrong.items() if why}
        texts = ["texts"] if "text" in case.rows[0].given else []
        known = KNOWN.get((client, folder, *texts), {})
        kind = ", ".join([case.variant or "float32", *texts, *{got["note"] for got in rows if got.get("note")}])
        print(f"{client:18} {folder:26} {len(rows) - len(wrong)} of {len(rows)}  {kind}", flush=True)
        for i in sorted(wrong | known):
            if i in wrong and i in known:
                print(f"    row {i}, known: {known[i]}")
            else:
                print(f"    ROW {i}: {wrong[i][:400]}" if i in wrong else f"    ROW {i} is right now; KNOWN says: {known[i]}")
                bad += 1
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(prog="clients.py")
    parser.add_argument("--program", required=True, help="tools/clients, built")
    parser.add_argument("--node", type=Path, required=True, help="a folder with node_modules and clients.mjs")
    parser.add_argument("--only", default="", help="part of a folder's name")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    bad = 0
    for client, wanted in cases.all_cases(args.program).items():
        wanted = [c for c in wanted if args.only in c.folder]
        run = {"optimum": lambda w: each(optimum, w), "onnxruntime-genai": lambda w: each(genai, w),
               "transformers.js": lambda w: transformers_js(w, args.node.resolve())}[client]
        bad += report(client, wanted, run(wanted))
    if bad:
        sys.exit(f"{bad} rows are not as they should be")


if __name__ == "__main__":
    main()
