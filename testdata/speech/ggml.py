"""Write a Whisper in CTranslate2's layout, the folders of faster-whisper, as whisper.cpp reads it: 16 bits a weight.

PYTHONPATH=tools/export python testdata/speech/ggml.py FOLDER FILE.bin
The layout and the names are those of models/convert-pt-to-ggml.py and convert-h5-to-ggml.py in whisper.cpp 1.8.5."""

import json
import pathlib
import re
import struct
import sys

import numpy as np
from transformers import WhisperFeatureExtractor
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode
from xpipe_export import ctranslate2

MAGIC = 0x67676D6C
FLOAT32, FLOAT16 = 0, 1

NAMES = (("^model.", ""), (".layers.", ".blocks."), ("self_attn_layer_norm", "attn_ln"),
         ("encoder_attn_layer_norm", "cross_attn_ln"),
         ("final_layer_norm", "mlp_ln"), ("self_attn.", "attn."), ("encoder_attn.", "cross_attn."), ("q_proj", "query"),
         ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
         ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
         ("embed_positions.weight", "positional_embedding"), ("embed_tokens", "token_embedding"))
"""What transformers calls the parts and what OpenAI does."""


def named(name: str) -> str:
    for ours, theirs in NAMES:
        name = re.sub(ours.replace(".", r"\."), theirs, name)
    return name


def vocabulary(file: pathlib.Path) -> list[bytes]:
    """Return the bytes of each token by id, without the special ones, which whisper.cpp adds."""
    tokenizer = json.loads(file.read_text())
    special, letters = {t["content"] for t in tokenizer["added_tokens"]}, {c: b for b, c in bytes_to_unicode().items()}
    tokens = sorted((i, token) for token, i in tokenizer["model"]["vocab"].items() if token not in special)
    if [i for i, _ in tokens] != list(range(len(tokens))):
        sys.exit(f"{file}: the ids of ordinary tokens are not 0 to {len(tokens) - 1}")
    return [bytes(letters[c] for c in token) for _, token in tokens]


def sizes(values: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> list[int]:
    """Return the header's numbers: the vocabulary, then positions, width, heads and layers of each side, and bands."""
    out = [len(weights["model.decoder.embed_tokens.weight"])]
    for side in ("encoder", "decoder"):
        layers = len({name.split(".")[3] for name in weights if name.startswith(f"model.{side}.layers.")})
        out += [*weights[f"model.{side}.embed_positions.weight"].shape, int(values[f"{side}/num_heads"]), layers]
    return [*out, weights["model.encoder.conv1.weight"].shape[1]]


def main() -> None:
    source, target = map(pathlib.Path, sys.argv[1:])
    values = ctranslate2.read(source / ctranslate2.WEIGHTS)
    weights = ctranslate2.state_dict(values)
    header = sizes(values, weights)
    filters = WhisperFeatureExtractor(feature_size=header[-1]).mel_filters.T.astype(np.float32)
    with target.open("wb") as out:
        out.write(struct.pack("<12i", MAGIC, *header, FLOAT16))
        out.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        tokens = vocabulary(source / "tokenizer.json")
        out.write(struct.pack("<i", len(tokens)) + b"".join(struct.pack("<i", len(t)) + t for t in tokens))
        for name, value in weights.items():
            name = named(name)
            half = value.ndim > 1 and not name.endswith("positional_embedding")
            if re.fullmatch(r"encoder\.conv\d\.bias", name):
                value = value[:, None]
            out.write(struct.pack("<3i", value.ndim, len(name), FLOAT16 if half else FLOAT32))
            out.write(struct.pack(f"<{value.ndim}i", *value.shape[::-1]) + name.encode())
            out.write(value.astype(np.float16 if half else np.float32).tobytes())


main()
