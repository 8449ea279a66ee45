"""Requests as Immich makes them (client.mjs, by Node) against the built server, beside what Pillow, tokenizers and
onnxruntime make of the same graphs as immich_ml does (models/clip/visual.py, textual.py).
Usage: python client.py PROGRAM; needs node, and testdata/requirements.txt."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testdata"))
import numpy as np
import onnxruntime as ort
from PIL import Image
from tokenizers import Tokenizer
from served import IMAGES, ROOT, command, run, served

PROGRAM = sys.argv[1]
MODEL = "ViT-B-32__openai"
PICTURE, TEXT = IMAGES / "cat.jpg", "a sleeping cat"
FOLDER = ROOT / "testdata/layouts/openclip-immich"


def unit(v):
    v = np.asarray(v, np.float64).reshape(-1)
    return v / np.linalg.norm(v)


def graph(kind, feed):
    session = ort.InferenceSession(FOLDER / kind / "model.onnx", providers=["CPUExecutionProvider"])
    return unit(session.run(None, {session.get_inputs()[0].name: feed})[0])


def visual():
    config = json.loads((FOLDER / "visual/preprocess_cfg.json").read_text())
    size = config["size"][0]
    image = Image.open(PICTURE).convert("RGB")
    scale = size / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling[config["interpolation"].upper()])
    left, top = ((side - size) // 2 for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
    pixels = (pixels - np.float32(config["mean"])) / np.float32(config["std"])
    return graph("visual", pixels.transpose(2, 0, 1)[None])


def textual():
    length = json.loads((FOLDER / "config.json").read_text())["text_cfg"]["context_length"]
    pad = json.loads((FOLDER / "textual/tokenizer_config.json").read_text())["pad_token"]
    tokenizer = Tokenizer.from_file(str(FOLDER / "textual/tokenizer.json"))
    tokenizer.enable_padding(length=length, pad_token=pad, pad_id=tokenizer.token_to_id(pad))
    tokenizer.enable_truncation(max_length=length)
    return graph("textual", np.array([tokenizer.encode(TEXT).ids], np.int32))


def ask(address, model):
    script = pathlib.Path(__file__).with_name("client.mjs")
    return json.loads(subprocess.run(
        ["node", script, address, model, PICTURE, TEXT], check=True, capture_output=True, text=True).stdout)


def vector(answer):
    assert answer["ok"] and isinstance(answer["body"]["clip"], str), answer
    return np.array(json.loads(answer["body"]["clip"]))


def cache_of_immich(address):
    got = ask(address, MODEL)
    assert got["ping"] == {"ok": True, "text": "pong"}, got["ping"]
    width, height = Image.open(PICTURE).size
    body = got["visual"]["body"]
    assert (body["imageWidth"], body["imageHeight"]) == (width, height), body
    assert set(got["textual"]["body"]) == {"clip"}, got["textual"]
    for mine, reference in ((got["visual"], visual()), (got["textual"], textual())):
        difference = np.abs(vector(mine) - reference).max()
        assert difference < 1e-5, difference
    for name, status in (("faces", 400), ("unknown", 404), ("bad", 422)):
        assert got[name]["status"] == status and isinstance(got[name]["body"]["detail"], str), got[name]


def embedded_model(address):
    got = ask(address, "clip-mini")
    for mine, args in ((got["visual"], [PICTURE]), (got["textual"], [f"--text={TEXT}"])):
        assert np.abs(vector(mine) - command(PROGRAM, "embed", *args)[0]["embedding"]).max() < 1e-6


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        shutil.copytree(FOLDER, pathlib.Path(cache) / "clip" / MODEL)
        with served(PROGRAM, "--models", cache) as address:
            sys.exit(run([cache_of_immich, embedded_model], address))
