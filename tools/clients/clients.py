"""python clients.py: other clients run the folders of testdata: given the prompts' ids they write the ids of
golden.json, too.

    optimum             ORTModelForCausalLM of optimum-onnx 0.1.0
    onnxruntime-genai   0.9.2
"""

import json
import sys
from pathlib import Path

import onnxruntime_genai as og
import torch
from optimum.onnxruntime import ORTModelForCausalLM

TESTDATA = Path(__file__).resolve().parents[2] / "testdata"
NEW = 12


def optimum(folder: Path):
    sub = "onnx" if (folder / "onnx").exists() else ""
    model = ORTModelForCausalLM.from_pretrained(folder, subfolder=sub, file_name="model.onnx", use_cache=True)

    def write(ids: list[int]) -> list[int]:
        given = torch.tensor([ids])
        return model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=NEW, do_sample=False,
                              num_beams=1)[0, len(ids):].tolist()
    return write


def genai(folder: Path):
    model = og.Model(str(folder))

    def write(ids: list[int]) -> list[int]:
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + NEW, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(ids)
        while not generator.is_done():
            generator.generate_next_token()
        return list(map(int, generator.get_sequence(0)))[len(ids):]
    return write


def main() -> None:
    wrong = 0
    for client, folder in ((optimum, "layouts/llama-optimum"),
                           (genai, "layouts/llama-genai")):
        rows = json.loads((TESTDATA / folder / "golden.json").read_text())["rows"]
        write = client(TESTDATA / folder)
        end = json.loads((TESTDATA / folder / "golden.json").read_text()).get("eos", 331)
        same = 0
        for row in rows:
            ids = write(row["input_ids"])
            ids = ids[:ids.index(end)] if end in ids else ids
            same += ids == row["ids"]
        print(f"{client.__name__} on {folder}: {same} of {len(rows)} prompts")
        wrong += same < len(rows)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
