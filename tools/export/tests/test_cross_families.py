"""Families with a replay of their own: what the bundles alone give, and checkpoints of other shapes
than the golden ones."""

import json

import numpy as np
import onnx
import pytest
import torch
import transformers as tf
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from test_checkpoints import words
from test_golden import check_generation, load
from xpipe_export import replay_families
from xpipe_export.cli import export_checkpoint
from xpipe_export.golden import core
from xpipe_export.graph import ExportError


def exported(model, tmp_path, **settings):
    """xpipe.json of the model's bundle; what else the checkpoint needs is saved before."""
    core.randomise(model, 11, embed=0.3)
    model.save_pretrained(tmp_path / "checkpoint")
    words().save_pretrained(tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", attention_maps=True, progress=False, **settings)
    meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
    assert max(g["max_rel_diff"] for g in meta["provenance"]["graphs"].values()) < 1e-4
    assert meta["provenance"]["end_to_end"]["max_rel_diff"] < 1e-4
    return meta


@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2]], ids=str)
def test_mllama(rows):
    golden, arrays, bundle = load("mllama")
    ids, logits = replay_families.mllama(bundle, golden, arrays, rows, 20)
    check_generation(golden, arrays, rows, ids, logits)
    for r in rows:  # what tokens read is transformers' own mask
        row = golden["rows"][r]
        seen = replay_families.mllama_sees(np.array(row["input_ids"]), bundle.meta["image_token_id"])
        want = np.array(row["cross_attention_mask"])
        assert [list(np.flatnonzero(t.any(-1))) for t in want] == seen
        assert [int(t.sum(-1).max()) for t in want.transpose(1, 0, 2)] == row["tiles"]


def test_mllama_text_beside_pictures():
    golden, arrays, bundle = load("mllama")
    golden["rows"].append({"images": [], "tiles": [], **golden["text_only"]})
    for rows in ([3], [3, 1]):
        ids, _ = replay_families.mllama(bundle, golden, arrays, rows, 20)
        assert ids[0] == golden["text_only"]["ids"]


def mllama(**text):
    vision = {"hidden_size": 12, "num_hidden_layers": 3, "num_global_layers": 2, "attention_heads": 3,
              "intermediate_size": 20, "vision_output_dim": 36, "image_size": 24, "patch_size": 8, "max_num_tiles": 2,
              "intermediate_layers_indices": [0, 2], "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}
    text = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3,
            "num_key_value_heads": 3, "intermediate_size": 32, "cross_attention_layers": [2],
            "max_position_embeddings": 64, "rope_scaling": {"rope_type": "default"}, "pad_token_id": 0} | text
    model = tf.MllamaForConditionalGeneration(tf.MllamaConfig(vision, text, image_token_index=40))
    return model


def test_mllama_of_another_shape(tmp_path):
    tf.MllamaImageProcessor(size={"height": 24, "width": 24}, max_image_tiles=2).save_pretrained(tmp_path / "checkpoint")
    meta = exported(mllama(), tmp_path)
    assert meta["tiles"] == 2 and meta["tokens_per_tile"] == 10 and meta["cross_layers"] == [2]
    assert meta["prompts"]["caption"] == "An image of"


def test_mllama_with_cross_attention_first_is_refused(tmp_path):
    tf.MllamaImageProcessor(size={"height": 24, "width": 24}, max_image_tiles=2).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="in the first layer"):
        exported(mllama(cross_attention_layers=[0, 2]), tmp_path)


@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("name", ["florence2", "whisper"])
def test_forced(name, rows):
    """The logits of the golden ids: greedy search bans n-grams and suppresses tokens, which is Go's."""
    golden, arrays, bundle = load(name)
    run = {"florence2": replay_families.florence, "whisper": replay_families.whisper}[name]
    ids = np.array([golden["greedy"]["ids"][r] for r in rows])
    _, logits = run(bundle, golden, arrays, rows, 20, forced=ids)
    check_generation(golden, arrays, rows, ids.tolist(), logits)


def test_whisper_has_its_table_once():
    _, _, bundle = load("whisper")
    graph = onnx.load(bundle.folder / bundle.meta["graphs"]["decoder"]).graph
    vocabulary = json.loads((bundle.folder / "config.json").read_text())["vocab_size"]
    assert [list(i.dims) for i in graph.initializer if vocabulary in i.dims] == [[vocabulary, 32]]
    assert "embed_tokens" not in bundle.meta["graphs"]


def test_whisper_shows_its_cross_attention():
    golden, arrays, bundle = load("whisper")
    states = bundle.run("encoder", input_features=arrays["input_features"][:1])["last_hidden_state"]
    assert np.abs(states - arrays["last_hidden_state"][:1]).max() < 1e-4
    ids = np.array([golden["rows"][0]["start"] + golden["greedy"]["ids"][0]])
    out = bundle.run("decoder", input_ids=ids, attention_mask=np.ones_like(ids), position_ids=np.arange(ids.shape[1])[None],
                     num_logits_to_keep=np.int64(1), **bundle.empty_past(1),
                     **{k.replace("present", "past_key_values"): v
                        for k, v in bundle.run("cross_kv", image_embeds=states).items()})
    for i, want in enumerate(arrays["cross_attn"]):
        assert np.abs(out[f"cross_attn.{i}"][0] - want).max() < 1e-5


def whisper(**changes):
    return tf.WhisperForConditionalGeneration(tf.WhisperConfig(
        **({"vocab_size": 50, "num_mel_bins": 6, "encoder_layers": 1, "encoder_attention_heads": 3, "decoder_layers": 3,
            "decoder_attention_heads": 2, "d_model": 24, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
            "max_source_positions": 20, "max_target_positions": 40, "decoder_start_token_id": 1, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2, "suppress_tokens": None, "begin_suppress_tokens": None} | changes)))


def test_whisper_of_another_shape(tmp_path):
    meta = exported(whisper(tie_word_embeddings=False, scale_embedding=True), tmp_path)
    assert meta["decoder_start_token_id"] == 1 and meta["limits"]["max_positions"] == 40


def florence(**text):
    text = tf.BartConfig(**({"vocab_size": 50, "d_model": 24, "encoder_layers": 1, "decoder_layers": 2,
                             "encoder_attention_heads": 3, "decoder_attention_heads": 4, "encoder_ffn_dim": 32,
                             "decoder_ffn_dim": 32, "max_position_embeddings": 40} | text))
    vision = Florence2VisionConfig(depths=[1, 2], patch_size=[7, 3], patch_stride=[4, 2], patch_padding=[3, 1],
                                   patch_prenorm=[False, True], embed_dim=[8, 16], num_heads=[2, 4], num_groups=[4, 2],
                                   window_size=3, projection_dim=24)
    return tf.Florence2ForConditionalGeneration(
        tf.Florence2Config(text_config=text.to_dict(), vision_config=vision.to_dict(), image_token_id=49))


def test_florence_of_another_shape(tmp_path):
    """Its picture is no whole number of windows."""
    tf.CLIPImageProcessor(size={"height": 40, "width": 40}, do_center_crop=False).save_pretrained(tmp_path / "checkpoint")
    meta = exported(florence(scale_embedding=True), tmp_path)
    assert meta["prompts"]["caption"] == "<CAPTION>" and meta["keep_special_tokens"]


def test_florence_without_a_size_is_refused(tmp_path):
    tf.CLIPImageProcessor(size={"shortest_edge": 40}, do_center_crop=False).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="height and width are needed"):
        exported(florence(), tmp_path)


def test_bridgetower_retrieval():
    golden, arrays, bundle = load("bridgetower-itm")
    for i, want in enumerate(arrays["itm_logits"]):
        got = replay_families.match(bundle, arrays["pixel_values"][i:i + 1], [t["input_ids"] for t in golden["texts"]])
        assert np.abs(got - want).max() < 1e-4


def test_bridgetower_contrastive():
    golden, arrays, bundle = load("bridgetower-itc")
    for i, want in enumerate(arrays["image_embeds"]):
        got = replay_families.embed(bundle, arrays["pixel_values"][i:i + 1], [t["input_ids"] for t in golden["texts"]])
        assert np.abs(got[0, 1] - want).max() < 1e-4 and np.abs(got[:, 0] - arrays["text_embeds"]).max() < 1e-4


@pytest.mark.parametrize("link", ["scaled_add", "interpolate"])
def test_bridgetower_of_another_shape(tmp_path, link):
    """One layer of each encoder is below the cross-attention."""
    config = tf.BridgeTowerConfig(
        hidden_size=18, num_hidden_layers=2, num_attention_heads=3, intermediate_size=24, link_tower_type=link,
        text_config={"vocab_size": 40, "hidden_size": 18, "num_hidden_layers": 3, "num_attention_heads": 3,
                     "intermediate_size": 24, "max_position_embeddings": 30, "pad_token_id": 0},
        vision_config={"hidden_size": 64, "num_hidden_layers": 3, "patch_size": 8, "image_size": 24})
    tf.BridgeTowerImageProcessor(size={"shortest_edge": 24}, size_divisor=8).save_pretrained(tmp_path / "checkpoint")
    meta = exported(tf.BridgeTowerForImageAndTextRetrieval(config), tmp_path)
    assert meta["family"] == "bridgetower" and meta["limits"]["max_text"] == 29


@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2]], ids=str)
def test_pix2struct(rows):
    golden, arrays, bundle = load("pix2struct")
    ids, logits = replay_families.pix2struct(bundle, golden, arrays, rows, 20)
    check_generation(golden, arrays, rows, ids, logits)


def pix2struct(tmp_path, **images):
    sizes = {"hidden_size": 24, "d_kv": 8, "d_ff": 20}
    config = tf.Pix2StructConfig(
        text_config=sizes | {"vocab_size": 40, "num_layers": 3, "num_heads": 3},
        vision_config=sizes | {"patch_embed_hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "seq_len": 40})
    tf.Pix2StructImageProcessor(**{"patch_size": {"height": 4, "width": 4}, "max_patches": 30} | images).save_pretrained(
        tmp_path / "checkpoint")
    return tf.Pix2StructForConditionalGeneration(config)


def test_pix2struct_exports(tmp_path):
    assert exported(pix2struct(tmp_path), tmp_path)["prompts"] == {"caption": ""}


def test_pix2struct_that_does_not_fit(tmp_path):
    for images, why in (({"is_vqa": True}, "is_vqa: the processor writes the question"),
                        ({"max_patches": 40}, "max_patches is 40, and the model has rows and columns for 39"),
                        ({"patch_size": {"height": 8, "width": 8}}, "patch_size")):
        with pytest.raises(ExportError, match=why):
            exported(pix2struct(tmp_path, **images), tmp_path)
