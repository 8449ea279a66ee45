"""num_logits_to_keep: the decoder's head reads the last positions alone, in every family that
writes text."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from test_checkpoints import VISION, blip, blip2, encdec, gpt2, idefics, opt, save, t5, trocr

import transformers as tf
from xpipe_export import replay
from xpipe_export.cli import export_checkpoint
from xpipe_export.golden import core
from xpipe_export.graph import feed

FAMILIES = {
    "opt": lambda: blip2(opt()),
    "t5": lambda: blip2(t5(feed_forward_proj="relu", tie_word_embeddings=True)),
    "blip": lambda: blip(tf.BlipForConditionalGeneration),
    "idefics": lambda: idefics(qk_layer_norms=True, use_resampler=True),
    "vit-gpt2": lambda: encdec(tf.ViTConfig(**VISION), gpt2()),
    "trocr": lambda: encdec(tf.ViTConfig(**VISION), trocr()),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """{family: (the torch model, its bundle opened)}, made once each."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            torch.manual_seed(5)
            model = FAMILIES[name]().eval()
            core.randomise(model, 5, embed=0.3)
            save(model, folder / "checkpoint")
            export_checkpoint(folder / "checkpoint", folder / "bundle", progress=False)
            made[name] = model, replay.Replay(folder / "bundle")
        return made[name]

    return get


def inputs(bundle, batch, length, past, seed=0):
    """Random inputs of the decoder, padded on the left from the second row on."""
    rng = np.random.default_rng(seed)
    sizes = {"batch": batch, "length": length, "past": past, "total": past + length, "source": 6, "images": 2}
    if "tokens_per_image" in bundle.meta:
        sizes["source"] = sizes["images"] * bundle.meta["tokens_per_image"]
    made = {}
    for i in bundle.session("decoder").get_inputs():
        shape = [sizes[d] if isinstance(d, str) else d for d in i.shape]
        if i.name == "num_logits_to_keep":
            assert i.shape == [] and i.type == "tensor(int64)"
        elif i.type == "tensor(int64)":
            made[i.name] = np.ones(shape, np.int64)
        else:
            made[i.name] = rng.standard_normal(shape).astype(np.float32) * 0.3
    for row in range(1, batch):
        made["attention_mask"][row, :row] = 0
    if "image_attention_mask" in made:
        made["image_attention_mask"][..., 1:] = 0
        made["cross_attention_gate"] = np.ones((batch, length), np.float32)
    return made


@pytest.mark.parametrize("batch, length, past", [(1, 7, 0), (3, 5, 0), (1, 1, 9), (3, 4, 6)])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_positions_alone(bundles, name, batch, length, past):
    _, bundle = bundles(name)
    given = inputs(bundle, batch, length, past)
    whole = bundle.run("decoder", **given, num_logits_to_keep=np.int64(0))
    assert whole["logits"].shape[:2] == (batch, length)
    for keep in (1, 3, length, length + 4):
        part = bundle.run("decoder", **given, num_logits_to_keep=np.int64(keep))
        want = whole["logits"][:, -min(keep, length):]
        assert part["logits"].shape == want.shape
        assert np.abs(part["logits"] - want).max() < 1e-5
        for cache in (n for n in whole if n.startswith("present")):
            assert np.array_equal(part[cache], whole[cache])


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_equals_the_language_model(bundles, keep):
    """Against OPTForCausalLM itself, which knows nothing of positions to keep: prefill, then a
    step."""
    model, bundle = bundles("opt")
    given = inputs(bundle, 2, 6, 0)
    tensors = {k: torch.tensor(v) for k, v in given.items() if not k.startswith("past")}
    with torch.no_grad():
        want = model.language_model(**tensors, use_cache=True)
    got = bundle.run("decoder", **given, num_logits_to_keep=np.int64(keep))
    assert np.abs(got["logits"] - want.logits[:, -keep:].numpy()).max() < 1e-4
    past = {k.replace("present", "past_key_values"): v for k, v in got.items() if k.startswith("present")}
    mask = np.concatenate([given["attention_mask"], np.ones((2, 1), np.int64)], 1)
    step = given["inputs_embeds"][:, :1]
    with torch.no_grad():
        want = model.language_model(inputs_embeds=torch.tensor(step), attention_mask=torch.tensor(mask),
                                    past_key_values=want.past_key_values)
    got = bundle.run("decoder", inputs_embeds=step, attention_mask=mask, **past, num_logits_to_keep=np.int64(keep))
    assert np.abs(got["logits"] - want.logits.numpy()).max() < 1e-4


@pytest.mark.parametrize("name, vocabulary", [("opt", 50), ("t5", 50), ("blip", 40),
                                              ("idefics", 40), ("vit-gpt2", 50), ("trocr", 50)])
def test_the_head_multiplies_the_kept_rows_alone(bundles, name, vocabulary, tmp_path):
    """By ONNX Runtime's own profile: of 30 prompt positions one row goes through the head."""
    _, bundle = bundles(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    path = bundle.folder / bundle.meta["graphs"]["decoder"]
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = inputs(bundle, 1, 30, 0)
    for keep in (1, 0):
        session.run(["logits"], {k: feed(v) for k, v in (given | {"num_logits_to_keep": np.int64(keep)}).items()})
    rows = []
    for event in json.loads(Path(session.end_profiling()).read_text()):
        args = event.get("args", {})
        if "MatMul" in args.get("op_name", "") or args.get("op_name") == "Gemm":
            shape = next(iter(args["output_type_shape"][0].values()))
            if shape[-1] == vocabulary:
                rows.append(int(np.prod(shape[:-1])))
    assert rows == [1, 30]
