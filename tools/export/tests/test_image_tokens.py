"""Models with rows of pictures in their prompt, of other shapes than the golden ones: each export
compares its graphs with torch, and the bundle with the checkpoint's own generate."""

import json

import numpy as np
import onnx
import pytest
import torch
import transformers as tf
from test_checkpoints import export_error, opt, words

from xpipe_export import replay, translate
from xpipe_export.cli import export_checkpoint
from xpipe_export.families import tied
from xpipe_export.golden import core
from xpipe_export.graph import ExportError

SIDE = {"hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 3, "num_attention_heads": 2,
        "image_size": 24, "patch_size": 8}
SQUARES = [[24, 48], [48, 24], [48, 48], [72, 24]]
IMAGE = 45
"""The id of pictures' rows: beyond the words, within the vocabulary of 50."""


def text(cls, **changes):
    return cls(**({"vocab_size": 50, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3,
                   "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
                   "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | changes))


def llava(language, vision=None, **changes):
    vision = vision or tf.CLIPVisionConfig(**SIDE, projection_dim=20)
    return tf.LlavaForConditionalGeneration(tf.LlavaConfig(
        vision_config=vision, text_config=language, image_token_index=IMAGE, **changes))


def llava_next(vision=None, **changes):
    vision = vision or tf.CLIPVisionConfig(**SIDE, projection_dim=20)
    return tf.LlavaNextForConditionalGeneration(tf.LlavaNextConfig(
        vision_config=vision, text_config=text(tf.MistralConfig, max_position_embeddings=128), image_token_index=IMAGE,
        image_grid_pinpoints=SQUARES, **changes))


def onevision(**changes):
    return tf.LlavaOnevisionForConditionalGeneration(tf.LlavaOnevisionConfig(
        vision_config=tf.SiglipVisionConfig(**SIDE, vision_use_head=False), image_token_index=IMAGE,
        text_config=text(tf.Qwen2Config, max_position_embeddings=128), video_token_index=46,
        image_grid_pinpoints=SQUARES, **changes))


def tiles(**changes):
    return tf.Idefics3ForConditionalGeneration(tf.Idefics3Config(
        vision_config=SIDE | {"image_size": 32}, text_config=text(tf.LlamaConfig, **changes).to_dict(),
        image_token_id=IMAGE, scale_factor=2, pad_token_id=0, **changes))


def idefics2(**changes):
    return tf.Idefics2ForConditionalGeneration(tf.Idefics2Config(
        vision_config=SIDE | {"image_size": 40}, text_config=text(tf.MistralConfig, **changes).to_dict(),
        perceiver_config={"hidden_size": 24, "resampler_n_latents": 5, "resampler_depth": 3, "resampler_n_heads": 3,
                          "resampler_head_dim": 8, "num_key_value_heads": 3},
        image_token_id=IMAGE, **changes))


def qwen(newer=False, **changes):
    rope = {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 1]}}
    language = {k: v for k, v in text(tf.Qwen2Config, **changes).to_dict().items() if k not in ("model_type", "layer_types")}
    ids = {"image_token_id": IMAGE, "video_token_id": 46, "vision_start_token_id": 47, "vision_end_token_id": 48}
    vision = {"depth": 3, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if newer:
        vision |= {"hidden_size": 24, "intermediate_size": 32, "out_hidden_size": 24, "window_size": 24,
                   "fullatt_block_indexes": [1]}
        return tf.Qwen2_5_VLForConditionalGeneration(tf.Qwen2_5_VLConfig(
            text_config=language | rope, vision_config=vision, **ids, **changes))
    vision |= {"embed_dim": 24, "mlp_ratio": 2, "hidden_size": 24}
    return tf.Qwen2VLForConditionalGeneration(tf.Qwen2VLConfig(
        text_config=language | rope, vision_config=vision, **ids, **changes))


SIGLIP = dict(SIDE, model_type="siglip_vision_model")
GEMMA = {"head_dim": 8, "hidden_activation": "gelu_pytorch_tanh"}


def paligemma(language):
    return tf.PaliGemmaForConditionalGeneration(tf.PaliGemmaConfig(
        text_config=language.to_dict(), vision_config=SIGLIP | {"projection_dim": 24}, projection_dim=24,
        hidden_size=24, image_token_index=IMAGE))


def gemma3(**changes):
    language = text(tf.Gemma3TextConfig, **GEMMA, query_pre_attn_scalar=8, **changes)
    return tf.Gemma3ForConditionalGeneration(tf.Gemma3Config(
        text_config=language.to_dict(), vision_config=SIGLIP | {"image_size": 32}, mm_tokens_per_image=4,
        image_token_index=IMAGE, boi_token_index=46, eoi_token_index=47))


def git(**changes):
    return tf.GitForCausalLM(tf.GitConfig(
        vision_config=SIDE, vocab_size=50, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, **changes))


CHECKPOINTS = {
    "llava-siglip-layers": lambda: llava(text(tf.LlamaConfig), tf.SiglipVisionConfig(**SIDE),
                                         vision_feature_layer=[-1, -2], vision_feature_select_strategy="full"),
    "llava-mistral-window": lambda: llava(text(tf.MistralConfig, sliding_window=6)),
    "llava-qwen2-tied": lambda: llava(text(tf.Qwen2Config, tie_word_embeddings=True), tie_word_embeddings=True),
    "llava-next": llava_next,
    "llava-next-siglip": lambda: llava_next(tf.SiglipVisionConfig(**SIDE), vision_feature_layer=-1,
                                            vision_feature_select_strategy="full"),
    "onevision": onevision,
    "onevision-fewer-lines": lambda: onevision(vision_aspect_ratio="anyres_max_1", vision_feature_layer=[-1, -2]),
    "idefics2": idefics2,
    "idefics2-tied-window": lambda: idefics2(tie_word_embeddings=True, sliding_window=7),
    "idefics3-tied": lambda: tiles(tie_word_embeddings=True),
    "qwen2-vl": qwen,
    "qwen2_5-vl-tied": lambda: qwen(True, tie_word_embeddings=True),
    "paligemma": lambda: paligemma(text(tf.GemmaConfig, **GEMMA)),
    "paligemma2": lambda: paligemma(text(tf.Gemma2Config, **GEMMA, sliding_window=6, query_pre_attn_scalar=8)),
    "git-tied": lambda: git(tie_word_embeddings=True),
    "gemma3": lambda: gemma3(sliding_window=5, layer_types=["sliding_attention", "full_attention"] * 2,
                             num_hidden_layers=4),
}


def save(model, folder):
    """Save a model with a tokenizer and the image processor of its kind."""
    for p in model.parameters():
        if p.dim() == 5:
            p.data.normal_(0, p[0].numel() ** -0.5)
    model.save_pretrained(folder)
    words().save_pretrained(folder)
    size = {"height": 24, "width": 24}
    kinds = {"llava": tf.CLIPImageProcessor(size=size, do_center_crop=False),
             "llava_next": tf.LlavaNextImageProcessor(size={"shortest_edge": 24}, crop_size=size, image_grid_pinpoints=SQUARES),
             "llava_onevision": tf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=SQUARES),
             "idefics2": tf.Idefics2ImageProcessor(size={"shortest_edge": 20, "longest_edge": 70}),
             "idefics3": tf.Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
             "git": tf.CLIPImageProcessor(size=size, do_center_crop=False),
             "paligemma": tf.SiglipImageProcessor(size=size),
             "gemma3": tf.Gemma3ImageProcessor(size={"height": 32, "width": 32})}
    patches = tf.Qwen2VLImageProcessor(min_pixels=64, max_pixels=32 * 32, patch_size=4)
    kinds.get(model.config.model_type, patches).save_pretrained(folder)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_exports(tmp_path, name):
    torch.manual_seed(11)
    model = CHECKPOINTS[name]()
    core.randomise(model, 11, embed=0.3)
    save(model, tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", attention_maps=True, progress=False)
    meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
    assert meta["family"] == "llava" and meta["model_type"] == model.config.model_type
    assert meta["provenance"]["end_to_end"]["max_rel_diff"] < 1e-4
    same = model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert (table_bytes(tmp_path / "bundle") == 0) == same


def table_bytes(bundle):
    """The bytes that the graph of embeddings itself holds of the table."""
    model = onnx.load(bundle / "onnx" / "embed_tokens.onnx", load_external_data=False)
    return sum(len(t.raw_data) for t in model.graph.initializer if len(t.dims) == 2)


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_tied_table_stored_otherwise(tmp_path, dtype):
    """Halved, the table is one still; so it is where it is too small to be stored in 8 bits."""
    language = text(tf.LlamaConfig, tie_word_embeddings=True, hidden_size=32)
    model = llava(language, tie_word_embeddings=True)
    core.randomise(model, 5, embed=0.3)
    save(model, tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", dtype=dtype, progress=False)
    assert table_bytes(tmp_path / "bundle") == 0
    bundle = replay.Replay(tmp_path / "bundle")
    ids = np.array([[3, 49, 0], [7, 7, IMAGE]])
    want = model.get_input_embeddings().weight.detach().numpy()[ids]
    got = bundle.run("embed_tokens", input_ids=ids)["inputs_embeds"]
    assert got.shape == want.shape and np.abs(got - want).max() < 1e-3


def test_a_table_that_is_another_stays(tmp_path):
    for name, shape in (("embed", (50, 8)), ("decoder", (8, 50))):
        values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
        node = onnx.helper.make_node("Gather" if name == "embed" else "MatMul",
                                     ["w", "x"] if name == "embed" else ["x", "w"], ["y"])
        graph = onnx.helper.make_graph([node], name, [], [], [onnx.numpy_helper.from_array(values, "w")])
        onnx.save(onnx.helper.make_model(graph), tmp_path / f"{name}.onnx")
    before = (tmp_path / "embed.onnx").read_bytes()
    assert not tied.share(tmp_path / "embed.onnx", tmp_path / "decoder.onnx")
    assert before == (tmp_path / "embed.onnx").read_bytes()


def test_other_parts_are_refused_by_name(tmp_path, capsys):
    for name, model, why in (
            ("opt", llava(opt()), "a language model of type 'opt'; known are llama"),
            ("pixtral", llava(text(tf.LlamaConfig), tf.PixtralVisionConfig(
                hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                image_size=24, patch_size=8), vision_feature_layer=-1),
             "a vision encoder of type 'pixtral'; known are")):
        save(model, tmp_path / name)
        assert why in export_error(capsys, tmp_path / name, tmp_path / "bundle")


def test_what_changes_pictures_is_refused(tmp_path, capsys):
    save(llava_next(), tmp_path / "next")
    tf.LlavaNextImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}).save_pretrained(
        tmp_path / "next")
    assert "image_grid_pinpoints" in export_error(capsys, tmp_path / "next", tmp_path / "bundle")
    save(onevision(vision_aspect_ratio="square"), tmp_path / "view")
    assert "vision_aspect_ratio 'square'" in export_error(capsys, tmp_path / "view", tmp_path / "bundle")
    save(gemma3(), tmp_path / "gemma3")
    tf.Gemma3ImageProcessor(size={"height": 32, "width": 32}, do_pan_and_scan=True, pan_and_scan_min_crop_size=8,
                            pan_and_scan_max_num_crops=4,
                            pan_and_scan_min_ratio_to_activate=1.2).save_pretrained(tmp_path / "gemma3")
    assert "do_pan_and_scan" in export_error(capsys, tmp_path / "gemma3", tmp_path / "bundle")
    save(git(num_image_with_embedding=6), tmp_path / "git")
    assert "sees 6 frames of a film" in export_error(capsys, tmp_path / "git", tmp_path / "bundle")


def test_prompts_without_a_chat_template(tmp_path):
    model = llava(text(tf.LlamaConfig))
    save(model, tmp_path / "checkpoint")
    for template, answer in ((None, "USER: <image>\n{} ASSISTANT:"), ("{{ messages }}", "{}")):
        tokenizer = words()
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tmp_path / "checkpoint")
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False, overwrite=True)
        meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
        assert meta["prompts"]["answer"] == answer and ("converse" in meta["tasks"]) == bool(template)


def test_classes_that_are_named_in_the_text_config(tmp_path):
    """Transformers 4.57.6 saves a Qwen2-VL so."""
    save(qwen(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert not config.get("architectures") and config["text_config"]["architectures"]


def test_keys_of_transformers_5(tmp_path):
    """As 5.24.0 writes them."""
    def text(**config):
        return translate._config(tmp_path, config)["text_config"]

    rope = {"rope_theta": 5.0, "rope_type": "default"}
    got = text(text_config={"model_type": "qwen2_vl_text", "rope_parameters": rope | {"mrope_section": [1, 1, 2]}})
    assert got["rope_theta"] == 5.0 and got["rope_scaling"]["mrope_section"] == [1, 1, 2]
    assert tf.Qwen2VLConfig(text_config=got).text_config.rope_scaling["rope_type"] == "default"
    far = {"rope_theta": 7.0, "rope_type": "linear", "factor": 8.0}
    got = text(text_config={"model_type": "gemma3_text",
                            "rope_parameters": {"full_attention": dict(far), "sliding_attention": dict(rope)}})
    assert got == {"model_type": "gemma3_text", "rope_theta": 7.0, "rope_local_base_freq": 5.0,
                   "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    with pytest.raises(ExportError, match="layers of sliding attention"):
        text(text_config={"model_type": "gemma3_text",
                          "rope_parameters": {"full_attention": dict(rope), "sliding_attention": dict(far)}})
    for value, left in ((True, False), (False, True)):
        got = text(model_type="paligemma", text_config={"use_bidirectional_attention": value})
        assert ("use_bidirectional_attention" in got) == left


@pytest.mark.parametrize("keep", [1, 3, 9])
def test_the_last_positions_alone(tmp_path, keep):
    model = gemma3()
    save(model, tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    bundle = replay.Replay(tmp_path / "bundle")
    rng = np.random.default_rng(1)
    given = bundle.empty_past(2) | {
        "inputs_embeds": rng.standard_normal((2, 6, 24)).astype(np.float32),
        "attention_mask": np.array([[1] * 6, [0, 0, 1, 1, 1, 1]]),
        "token_type_ids": np.array([[0, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 0]])}
    whole = bundle.run("decoder", **given, num_logits_to_keep=np.int64(0))["logits"]
    part = bundle.run("decoder", **given, num_logits_to_keep=np.int64(keep))["logits"]
    assert whole.shape[1] == 6 and part.shape[1] == min(keep, 6)
    assert np.abs(part - whole[:, -keep:]).max() < 1e-5
