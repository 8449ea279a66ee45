"""python testdata/speech/ids.py CHECKPOINT TRANSCRIPTS.jsonl ...: how many transcripts of clips of up to 30 s,
made by xpipe transcribe --json at one temperature without thresholds, have the ids of transformers' generate.

CHECKPOINT is a folder in transformers' naming, or CTranslate2's, as tools/export/whisper/packages.py fetches
them. Wants xpipe-export installed, soundfile 0.14.0 and soxr 1.1.0.
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from xpipe_export import ctranslate2


def sound(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(1), rate, 16000, "HQ").astype(np.float32)


def main():
    with ctranslate2.as_checkpoint(Path(sys.argv[1])) as folder:
        model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
        extractor = WhisperFeatureExtractor.from_pretrained(folder)
    config = model.generation_config
    for file in sys.argv[2:]:
        equal = rows = tokens = 0
        for line in open(file):
            row = json.loads(line)
            asked = row["settings"]
            given = {"language": row["language"], "task": asked.get("task", "transcribe")} if config.is_multilingual else {}
            features = extractor(sound(row["audio"]), sampling_rate=16000, return_tensors="pt").input_features
            with torch.no_grad():
                made = model.generate(features, num_beams=asked.get("num_beams", 1),
                                      return_timestamps=not asked.get("without_timestamps", False), **given)
            marks = range(config.eos_token_id, config.no_timestamps_token_id + 1)
            want = [i for i in made[0].tolist() if i not in marks]
            rows, tokens, equal = rows + 1, tokens + len(want), equal + (want == row["ids"])
            if want != row["ids"]:
                print(f"{row['audio']}: {row['ids']}, transformers {want}")
        print(f"{file}: {equal} of {rows} equal, {tokens} ids", flush=True)


if __name__ == "__main__":
    main()
