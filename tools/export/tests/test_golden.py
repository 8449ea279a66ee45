"""The committed golden files: the bundles alone, run by ONNX Runtime and numpy, give what
transformers gave."""

import json
from pathlib import Path

import numpy as np
import pytest

from xpipe_export.bundle import sha256
from xpipe_export import replay, scores

FAMILIES = Path(__file__).resolve().parents[3] / "testdata" / "families"
NAMES = sorted(p.parent.name for p in FAMILIES.glob("*/golden.json"))
GOLDEN = {n: json.loads((FAMILIES / n / "golden.json").read_text()) for n in NAMES}
GENERATIVE = [n for n in NAMES if "greedy" in GOLDEN[n]]
FLAMINGO = [n for n in GENERATIVE if GOLDEN[n]["family"] == "flamingo"]
LIMIT = 1e-4
OTHERWISE = ("mllama", "florence2", "pix2struct", "whisper")
"""Families that are replayed by a way of their own; see below and test_cross_families.py."""


def load(name):
    folder = FAMILIES / name
    golden = json.loads((folder / "golden.json").read_text())
    arrays = {k: np.load(folder / v["file"]) for k, v in golden["arrays"].items()}
    return golden, arrays, replay.Replay(folder / "bundle")


def close(a, b):
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= LIMIT


def check_generation(golden, arrays, rows, ids, logits):
    assert ids == [golden["greedy"]["ids"][r] for r in rows]
    close(logits, arrays["logits"][rows])


@pytest.mark.parametrize("name", NAMES)
def test_files(name):
    folder = FAMILIES / name / "bundle"
    meta = json.loads((folder / "xpipe.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"xpipe.json"}
    assert files == set(meta["sha256"])
    assert all(sha256(folder / f) == h for f, h in meta["sha256"].items())
    assert all(v <= LIMIT for v in meta["provenance"]["max_abs_diff"].values())


@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("name", [n for n in GENERATIVE if n not in FLAMINGO and not n.startswith(OTHERWISE)])
def test_generation(name, rows):
    golden, arrays, bundle = load(name)
    ids, logits = replay.generate(bundle, golden, arrays, rows, 20)
    check_generation(golden, arrays, rows, ids, logits)


@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("-itm") and not n.startswith("bridgetower")])
def test_retrieval(name):
    golden, arrays, b = load(name)
    texts, masks = replay.right_pad([np.array(t["input_ids"], np.int64) for t in golden["texts"]])
    for i in range(len(arrays["pixel_values"])):
        embeds, matched, similar = scores.retrieval(b, arrays["pixel_values"][i:i + 1], texts, masks)
        close(embeds, arrays["image_embeds"][i:i + 1])
        close(matched, arrays["itm_logits"][i])
        close(similar, arrays["itc_similarity"][i])


def test_qformer_maps():
    golden, arrays, b = load("blip2-opt")
    out = b.run("qformer", image_embeds=arrays["image_embeds"])
    maps = [out[k][0] for k in sorted(out) if k.startswith("cross_attn")]
    close(np.stack(maps), arrays["qformer_cross_attn"])
    assert np.allclose(maps[0].sum(-1), 1, atol=1e-5)


def test_naflex():
    golden, arrays, b = load("siglip2-naflex")
    seen = {n: arrays[n] for n in ("pixel_values", "pixel_attention_mask", "spatial_shapes")}
    got = scores.dual_encoder(b, seen, np.array([t["input_ids"] for t in golden["texts"]]))
    for name in ("image_embeds", "text_embeds", "logits_per_image"):
        close(got[name], arrays[name])


@pytest.mark.parametrize("name", ["clap", "clap-fused"])
def test_clap(name):
    golden, arrays, b = load(name)
    longer = np.array([[r["is_longer"]] for r in golden["rows"]])
    ids, mask = replay.right_pad([np.array(t["input_ids"], np.int64) for t in golden["texts"]])
    read = {"input_ids": np.where(mask == 1, ids, 1), "attention_mask": mask}
    got = scores.clap(b, {"input_features": arrays["input_features"], "is_longer": longer}, read)
    for name in ("audio_embeds", "text_embeds", "logits_per_audio"):
        close(got[name], arrays[name])


@pytest.mark.parametrize("name", ["clip", "clip-legacy", "siglip"])
def test_dual_encoder(name):
    golden, arrays, b = load(name)
    got = scores.dual_encoder(b, arrays["pixel_values"], np.array([t["input_ids"] for t in golden["texts"]]))
    for what, values in got.items():
        close(values, arrays[what])
    logits = got["logits_per_image"]
    e = np.exp(logits - logits.max(-1, keepdims=True))
    close(1 / (1 + np.exp(-logits)) if b.meta["scores"] == "sigmoid"
          else e / e.sum(-1, keepdims=True), arrays["probabilities"])


@pytest.mark.parametrize("name", ["lxmert-vqa", "lxmert-gqa"])
def test_lxmert(name):
    golden, arrays, b = load(name)
    ids, mask = replay.right_pad([np.array(r["input_ids"], np.int64) for r in golden["rows"]])
    out = b.run("model", input_ids=ids, attention_mask=mask, visual_feats=arrays["visual_feats"],
                visual_pos=arrays["visual_pos"],
                visual_attention_mask=np.ones((len(ids), 36), np.int64))
    close(out["logits"], arrays["logits"])
    labels = json.loads((b.folder / "labels.json").read_text())
    assert [labels[i] for i in out["logits"].argmax(-1)] == [r["label"] for r in golden["rows"]]
    if name == "lxmert-vqa":
        words = len(golden["rows"][0]["input_ids"])
        for i in range(2):
            close(out[f"cross_attn.{i}"][0][:, :words], arrays["cross_attn"][i])
            close(out[f"visual_cross_attn.{i}"][0][..., :words], arrays["visual_cross_attn"][i])


@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("name", FLAMINGO)
def test_flamingo(name, rows):
    golden, arrays, b = load(name)
    ids, logits = replay.generate_flamingo(b, golden, arrays, rows, 20)
    check_generation(golden, arrays, rows, ids, logits)
    token = next(t["id"]
                 for t in json.loads((b.folder / "tokenizer.json").read_text())["added_tokens"]
                 if t["content"] == "<image>")
    for r in rows:  # the mask made from the ids is transformers' own
        row = golden["rows"][r]
        want = np.array(row["image_attention_mask"])
        assert replay.media_index(row["input_ids"], token, None) == [int(m.argmax()) if m.any() else -1 for m in want]


@pytest.mark.parametrize("name", FLAMINGO)
def test_flamingo_images_matter_only_behind_them(name):
    golden, arrays, b = load(name)
    _, logits = replay.generate_flamingo(b, golden, arrays, [0], 3)
    changed = arrays["pixel_values"].copy()
    changed[golden["rows"][0]["images"][-1]] += 0.5
    _, other = replay.generate_flamingo(b, golden, arrays, [0], 3, images=changed)
    assert np.abs(logits - other).max() > 1e-2


@pytest.mark.parametrize("name", ["idefics", "openflamingo-opt"])
def test_closed_gates_ignore_the_images(name):
    golden, arrays, b = load(name)
    b.meta["graphs"]["decoder"] = "../decoder_gates0.onnx"
    _, logits = replay.generate_flamingo(b, golden, arrays, [0], 3)
    _, other = replay.generate_flamingo(b, golden, arrays, [0], 3, images=arrays["pixel_values"][::-1] * 2)
    assert np.array_equal(logits, other)
