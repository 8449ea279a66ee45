"""python -m xpipe_export.golden.moonshine_layout [--out DIR]: Moonshine as transformers.js lays it out, with the
ids that PyTorch's generate gives.

A tiny seeded model of the real class, exported by optimum-onnx. It hears stretches of testdata/audio/16.wav, each for
itself: golden.json has their first and last samples.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers as tf
from optimum.exporters.onnx import main_export

from . import core, tokens
from .encdec_layouts import save
from .hearing_layouts import merged

TESTDATA = Path(__file__).resolve().parents[4] / "testdata"
STRETCHES = [[0, 4000], [500, 3100], [1400, 4000], [2000, 2895]]
"""Two as long as each other, and the shortest that makes a state."""
NEW, BEAMS = 12, 3


def samples() -> torch.Tensor:
    with wave.open(str(TESTDATA / "audio" / "16.wav")) as file:
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return torch.from_numpy(values.astype(np.float32) / 32768)


def checkpoint(seed: int, path: Path):
    tokenizer = tokens.llama()
    config = tf.MoonshineConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2, encoder_num_attention_heads=2, decoder_num_attention_heads=2,
        max_position_embeddings=194, pad_token_id=tokenizer.eos_token_id)
    model = tf.MoonshineForConditionalGeneration(config)
    core.randomise(model, seed, gain=2.5)
    core.save_rounded(model, path)
    tokenizer.save_pretrained(path)
    tf.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(path)
    return tf.MoonshineForConditionalGeneration.from_pretrained(path, attn_implementation="eager").eval()


def texts(model) -> list[dict]:
    rows = []
    for first, last in STRETCHES:
        sound = samples()[None, first:last]
        with torch.no_grad():
            out = model.generate(sound, max_new_tokens=NEW, do_sample=False, output_scores=True, return_dict_in_generate=True)
            beams = model.generate(sound, max_new_tokens=NEW, num_beams=BEAMS, do_sample=False, num_return_sequences=2,
                                   output_scores=True, return_dict_in_generate=True)
        best = torch.cat(out.scores).topk(2).values
        if float((best[:, 0] - best[:, 1]).min()) < core.MIN_GAP or float(-beams.sequences_scores.diff()) < 1e-3:
            raise core.Unsuitable("near ties")
        rows.append({"samples": [first, last], "ids": out.sequences[0, 1:].tolist(), "beam_ids": beams.sequences[0, 1:].tolist()})
    if len({tuple(r["ids"]) for r in rows}) < len(rows) or min(len(set(r["ids"])) for r in rows) < 4:
        raise core.Unsuitable("dull")
    return rows


def build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        rows = []

        def attempt(seed: int) -> None:
            shutil.rmtree(Path(tmp) / "checkpoint", ignore_errors=True)
            rows[:] = texts(checkpoint(seed, Path(tmp) / "checkpoint"))

        seed = core.search(attempt, 1)
        made = Path(tmp) / "made"
        main_export(str(Path(tmp) / "checkpoint"), str(made), task="automatic-speech-recognition-with-past", do_validation=False,
                    no_post_process=True)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "onnx").mkdir(parents=True)
        for name in ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(made / name, folder / name)
        save(onnx.load(made / "encoder_model.onnx"), folder / "onnx" / "encoder_model.onnx")
        merged(made / "decoder_model.onnx", made / "decoder_with_past_model.onnx", folder / "onnx" / "decoder_model_merged.onnx")
    about = {"script": "python -m xpipe_export.golden.moonshine_layout", "seed": seed,
             "versions": core.versions() | {"onnx": onnx.__version__}, "max_new_tokens": NEW, "num_beams": BEAMS}
    (folder / "golden.json").write_text(json.dumps(about | {"rows": rows}) + "\n")
    print(folder.name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.moonshine_layout")
    parser.add_argument("--out", type=Path, default=TESTDATA / "layouts")
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    build(parser.parse_args().out / "moonshine-transformersjs")


if __name__ == "__main__":
    main()
