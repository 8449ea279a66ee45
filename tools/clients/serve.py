"""python serve.py MODEL KIND THREADS: a Python client of bench.py. It opens the folder once and answers {"image", "tokens"} by
{"seconds", "ids"}: a greedy text of just so many tokens, from the file's bytes to the text.

KIND is vit-gpt2, by optimum's ORTModelForVision2Seq, or florence2, which optimum does not have: the same loop straight on
onnxruntime, with transformers' processors.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
import transformers as tf
from PIL import Image


def options(threads: int) -> ort.SessionOptions:
    made = ort.SessionOptions()
    made.intra_op_num_threads = threads
    return made


def vit_gpt2(folder: Path, threads: int):
    from optimum.onnxruntime import ORTModelForVision2Seq

    model = ORTModelForVision2Seq.from_pretrained(folder, subfolder="onnx", use_cache=True, session_options=options(threads))
    processor, tokenizer = tf.AutoImageProcessor.from_pretrained(folder), tf.AutoTokenizer.from_pretrained(folder)

    def write(image: str, count: int) -> list[int]:
        pixels = processor(Image.open(image).convert("RGB"), return_tensors="pt").pixel_values
        ids = model.generate(pixels, max_new_tokens=count, min_new_tokens=count, do_sample=False, num_beams=1)[0, 1:]
        tokenizer.decode(ids, skip_special_tokens=True)
        return ids.tolist()

    return write


def florence2(folder: Path, threads: int):
    def session(name: str) -> ort.InferenceSession:
        return ort.InferenceSession(folder / "onnx" / f"{name}.onnx", options(threads), providers=["CPUExecutionProvider"])

    vision, embed, encoder, decoder = map(session, ("vision_encoder", "embed_tokens", "encoder_model", "decoder_model_merged"))
    processor = tf.AutoImageProcessor.from_pretrained(folder)
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    prompt = np.array([tokenizer(PROMPT).input_ids], np.int64)
    names = [o.name for o in decoder.get_outputs()]
    past = {i.name: [d if isinstance(d, int) else 1 if k == 0 else 0 for k, d in enumerate(i.shape)]
            for i in decoder.get_inputs() if i.name.startswith("past")}

    def write(image: str, count: int) -> list[int]:
        pixels = processor(Image.open(image).convert("RGB"), return_tensors="np")["pixel_values"].astype(np.float32)
        seen = vision.run(None, {"pixel_values": pixels})[0]
        given = np.concatenate([seen, embed.run(None, {"input_ids": prompt})[0]], 1)
        mask = np.ones(given.shape[:2], np.int64)
        states = encoder.run(None, {"inputs_embeds": given, "attention_mask": mask})[0]
        feeds = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "use_cache_branch": np.array([False])}
        feeds |= {n: np.zeros(shape, np.float32) for n, shape in past.items()}
        ids, last = [], 2
        for step in range(count):
            feeds["inputs_embeds"] = embed.run(None, {"input_ids": np.array([[last]], np.int64)})[0]
            out = dict(zip(names, decoder.run(None, feeds)))
            for n in past:
                if not (step and ".encoder." in n):
                    feeds[n] = out[n.replace("past_key_values", "present")]
            feeds["use_cache_branch"] = np.array([True])
            logits = out["logits"][0, -1]
            logits[END] = -np.inf
            last = 0 if step == 0 else int(logits.argmax())  # forced_bos_token_id
            ids.append(last)
        tokenizer.decode(ids, skip_special_tokens=True)
        return ids

    return write


PROMPT, END = "What does the image describe?", 2


def main() -> None:
    folder, kind, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    tf.utils.logging.set_verbosity_error()
    write = {"vit-gpt2": vit_gpt2, "florence2": florence2}[kind](folder, threads)
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        ids = write(job["image"], job["tokens"])
        print(json.dumps({"seconds": time.perf_counter() - start, "ids": ids}), flush=True)


if __name__ == "__main__":
    main()
