"""Checkpoints of other shapes than the golden ones: each must export, which verifies every graph
against torch."""

import json
import shutil

import pytest
import torch
import transformers as tf
from safetensors.torch import save_file
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers import models as tokenizer_models

from xpipe_export import nbits
from xpipe_export.cli import export_checkpoint, main
from xpipe_export.families import causal, open_flamingo, vision_encoder_decoder
from xpipe_export.golden import core, tokens
from xpipe_export.graph import ExportError

VISION = {"hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 2,
          "num_attention_heads": 2, "image_size": 24, "patch_size": 8}
QFORMER = {"vocab_size": 40, "hidden_size": 18, "num_hidden_layers": 3, "num_attention_heads": 3,
           "intermediate_size": 24, "encoder_hidden_size": 20, "max_position_embeddings": 32}


def opt(**changes):
    return tf.OPTConfig(
        **({"vocab_size": 50, "hidden_size": 24, "word_embed_proj_dim": 24, "num_hidden_layers": 2,
            "ffn_dim": 32, "num_attention_heads": 3, "max_position_embeddings": 64} | changes))


def t5(**changes):
    return tf.T5Config(
        **({"vocab_size": 50, "d_model": 24, "d_kv": 6, "d_ff": 32, "num_layers": 2, "num_heads": 3,
            "decoder_start_token_id": 0} | changes))


def llama(vocab_size=50, **changes):
    return tf.LlamaConfig(vocab_size=vocab_size, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                          **changes)


def blip2(text, **changes):
    return tf.Blip2ForConditionalGeneration(
        tf.Blip2Config(tf.Blip2VisionConfig(**VISION).to_dict(),
                       tf.Blip2QFormerConfig(**QFORMER).to_dict(), text.to_dict(),
                       num_query_tokens=5, **changes))


def instruct(text):
    return tf.InstructBlipForConditionalGeneration(
        tf.InstructBlipConfig(tf.InstructBlipVisionConfig(**VISION).to_dict(),
                              tf.InstructBlipQFormerConfig(**QFORMER).to_dict(), text.to_dict(),
                              num_query_tokens=5))


def blip(cls):
    text = {"vocab_size": 40, "hidden_size": 18, "encoder_hidden_size": 20, "intermediate_size": 24,
            "projection_dim": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 32, "bos_token_id": 1, "sep_token_id": 2, "pad_token_id": 0,
            "eos_token_id": 2}
    if cls is tf.BlipForQuestionAnswering:  # its decoder reads the text encoder's states
        text["encoder_hidden_size"] = 20
        text["hidden_size"], text["num_attention_heads"] = 20, 2
    return cls(
        tf.BlipConfig(text, tf.BlipVisionConfig(**VISION).to_dict(), projection_dim=12,
                      image_text_hidden_size=10))


def idefics(**changes):
    settings = {"vocab_size": 40, "additional_vocab_size": 2, "hidden_size": 24,
                "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
                "cross_layer_interval": 2, "pad_token_id": 0, "max_position_embeddings": 64,
                "vision_config": {"embed_dim": 20, "image_size": 24, "patch_size": 8,
                                  "num_hidden_layers": 1, "num_attention_heads": 2,
                                  "intermediate_size": 28},
                "perceiver_config": {"resampler_n_latents": 3, "resampler_depth": 1,
                                     "resampler_n_heads": 2, "resampler_head_dim": 6}}
    return tf.IdeficsForVisionText2Text(tf.IdeficsConfig(**(settings | changes)))


def clip(**text):
    return tf.CLIPModel(
        tf.CLIPConfig(
            {"vocab_size": 60, "hidden_size": 18, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 3, "max_position_embeddings": 12, "eos_token_id": 59} | text,
            VISION, projection_dim=14))


def siglip(**vision):
    return tf.SiglipModel(
        tf.SiglipConfig(
            {"vocab_size": 170, "hidden_size": 20, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_position_embeddings": 12, "projection_size": 20},
            VISION | vision))


def lxmert(cls):
    return cls(
        tf.LxmertConfig(vocab_size=60, hidden_size=18, num_attention_heads=3, num_qa_labels=9,
                        num_object_labels=4, num_attr_labels=4, intermediate_size=24,
                        max_position_embeddings=24, l_layers=2, r_layers=2, x_layers=1,
                        visual_feat_dim=10))


def encdec(encoder, decoder):
    model = tf.VisionEncoderDecoderModel(tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder))
    model.generation_config.decoder_start_token_id = 2
    return model


def gpt2(**changes):
    return tf.GPT2Config(**({"vocab_size": 50, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3,
                             "is_decoder": True, "add_cross_attention": True} | changes))


def trocr(**changes):
    return tf.TrOCRConfig(
        **({"vocab_size": 50, "d_model": 24, "decoder_layers": 2, "decoder_attention_heads": 3,
            "decoder_ffn_dim": 32, "max_position_embeddings": 64, "cross_attention_hidden_size": 20}
           | changes))


def mbart(vocab_size=50):
    return tf.MBartConfig(vocab_size=vocab_size, d_model=32, decoder_layers=3, decoder_attention_heads=4,
                          decoder_ffn_dim=32, max_position_embeddings=64, is_decoder=True,
                          add_cross_attention=True, is_encoder_decoder=False)


def swin(cls, **changes):
    return cls(
        **({"patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
            "window_size": 4} | changes))


def words(size=30):
    """A tokenizer of a few words, smaller than any vocabulary here."""
    names = ["<pad>", "<s>", "</s>", "<unk>"]
    names += [w for w in " ".join(tokens.corpus()).split() if w not in names][:1000]
    names = list(dict.fromkeys(names))[:size]
    tok = Tokenizer(tokenizer_models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    return tf.PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="<pad>", bos_token="<s>",
                                      eos_token="</s>", unk_token="<unk>")


def save(model, folder, tokenizer=None, **settings):
    """Save a model with a tokenizer and an image processor that fit it."""
    model.save_pretrained(folder, **settings)
    config, tokenizer = model.config, tokenizer or words()
    if hasattr(config, "perceiver_config"):
        tokenizer.add_special_tokens({"additional_special_tokens": ["<fake_token_around_image>", "<image>"]})
    tokenizer.save_pretrained(folder)
    if hasattr(config, "qformer_config"):
        words().save_pretrained(folder / "qformer_tokenizer")
    if vision := getattr(config, "vision_config", None) or getattr(config, "encoder", None):
        height, width = vision_encoder_decoder.image_size(vision)
        images = tf.BlipImageProcessor(size={"height": height, "width": width})
        if hasattr(config, "perceiver_config"):
            images = tf.IdeficsImageProcessor(image_size=height)
        images.save_pretrained(folder)


CHECKPOINTS = {
    "blip2-opt350m": lambda: blip2(opt(word_embed_proj_dim=16, do_layer_norm_before=False),
                                   image_token_index=49),
    "blip2-old": lambda: blip2(opt()),
    "blip2-t5-tied": lambda: blip2(t5(feed_forward_proj="relu", tie_word_embeddings=True)),
    "blip2-llama": lambda: blip2(llama()),
    "instructblip-llama": lambda: instruct(llama()),
    "instructblip-t5": lambda: instruct(
        t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "blip-caption": lambda: blip(tf.BlipForConditionalGeneration),
    "blip-vqa": lambda: blip(tf.BlipForQuestionAnswering),
    "blip-itm": lambda: blip(tf.BlipForImageTextRetrieval),
    "idefics": lambda: idefics(qk_layer_norms=False, use_resampler=True),
    "idefics-no-extra": lambda: idefics(additional_vocab_size=0, use_resampler=False,
                                        tie_word_embeddings=True),
    "clip": clip,
    "clip-legacy": lambda: clip(eos_token_id=2),
    "siglip": siglip,
    "lxmert": lambda: lxmert(tf.LxmertForQuestionAnswering),
    "lxmert-pretraining": lambda: lxmert(tf.LxmertForPreTraining),
    "vit-gpt2": lambda: encdec(tf.ViTConfig(**VISION), gpt2()),
    "vit-gpt2-scaled": lambda: encdec(tf.ViTConfig(**VISION), gpt2(
        scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True)),
    "trocr": lambda: encdec(tf.ViTConfig(**VISION), trocr()),
    "trocr-sinusoids": lambda: encdec(tf.DeiTConfig(**VISION), trocr(
        use_learned_position_embeddings=False, scale_embedding=True, layernorm_embedding=False)),
    "donut": lambda: encdec(swin(tf.DonutSwinConfig, image_size=[64, 40]), mbart()),
    "donut-one-window": lambda: encdec(
        swin(tf.DonutSwinConfig, image_size=[32, 64], embed_dim=32, depths=[2], num_heads=[4],
             window_size=8), mbart()),
    "swin-gpt2": lambda: encdec(swin(tf.SwinConfig, image_size=32, window_size=3), gpt2()),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_exports_with_attention_maps(tmp_path, name):
    torch.manual_seed(11)
    model = CHECKPOINTS[name]()
    core.randomise(model, 11, embed=0.3)
    save(model, tmp_path / "checkpoint", safe_serialization=name != "blip2-old")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", attention_maps=True, progress=False)
    meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
    whole = meta["provenance"].get("end_to_end")
    if getattr(model.config, "image_token_index", 0) is None:  # transformers cannot place the picture
        assert whole is None
    else:
        assert whole["max_rel_diff"] < 1e-4
    assert meta["attention_maps"] and max(g["max_rel_diff"] for g in meta["provenance"]["graphs"].values()) < 1e-4


def test_vision_encoder_decoder_of_other_kinds_is_refused(tmp_path):
    bert = tf.BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=1, num_attention_heads=3,
                         intermediate_size=32, is_decoder=True, add_cross_attention=True)
    save(encdec(tf.ViTConfig(**VISION), bert), tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="decoder of type 'bert'; known are gpt2, trocr, mbart"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)


def test_donut_prompts_come_from_its_tokens(tmp_path):
    model = encdec(swin(tf.DonutSwinConfig, image_size=[32, 32]), mbart(vocab_size=300))
    save(model, tmp_path / "checkpoint")
    for name, tags, prompts in (("base", ["<s_iitcdip>"], {"caption": "<s_iitcdip>"}),
                                ("own", ["<s_menu>"], {"caption": ""}),
                                ("vqa", ["<s_iitcdip>", "<s_docvqa>"],
                                 {"caption": "<s_iitcdip>",
                                  "answer": "<s_docvqa><s_question>{}</s_question><s_answer>"})):
        tokens.xlm_roberta(tags).save_pretrained(tmp_path / "checkpoint")
        export_checkpoint(tmp_path / "checkpoint", tmp_path / name, progress=False)
        meta = json.loads((tmp_path / name / "xpipe.json").read_text())
        assert meta["prompts"] == prompts and set(meta["tasks"]) == set(prompts)
        assert meta["prompt_replaces_start"] and not meta["prompt_special_tokens"]


def test_half_precision_checkpoint(tmp_path):
    model = blip2(opt())
    core.randomise(model, 3, embed=0.3)
    save(model.half(), tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", dtype="fp16", progress=False)
    graphs = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())["provenance"]["graphs"]
    assert graphs["decoder"]["rounding_abs_diff"] == 0, "float16 weights lose nothing in a float16 file"
    assert graphs["qformer"]["dtype"] == "fp32"


def test_int8_and_opset(tmp_path, monkeypatch):
    monkeypatch.setattr(nbits, "MIN_ELEMENTS", 100)
    model = clip()
    core.randomise(model, 3)
    save(model, tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", dtype="int8", opset=20, progress=False)
    found = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())["provenance"]
    vision = found["graphs"]["vision_encoder"]
    assert vision["opset"] == 20 and 0 < vision["rounding_abs_diff"] < 0.1
    assert 0 < found["end_to_end"]["max_abs_diff"] < 0.5 and found["end_to_end"]["answers"] == 2


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_cost_of_few_bits_is_told(tmp_path, capsys, monkeypatch, dtype):
    monkeypatch.setattr(nbits, "MIN_ELEMENTS", 100)
    model = blip2(opt(hidden_size=32, word_embed_proj_dim=32, num_attention_heads=4), image_token_index=49)
    core.randomise(model, 11, embed=0.3)
    save(model, tmp_path / "checkpoint")
    assert main([str(tmp_path / "checkpoint"), "--out", str(tmp_path / "bundle"), "--quiet", "--no-run",
                 "--dtype", dtype]) == 0
    out = capsys.readouterr().out
    found = provenance(tmp_path / "bundle")["end_to_end"]
    assert found["tokens"] >= 2 and 0 < found["max_rel_diff"] < 1
    assert out.startswith(f"{dtype}: ")
    assert f"the best is the same in {found['same_best']} of {found['tokens']} tokens" in out


def test_open_clip_names():
    """open_clip's tower and transformers' hold the same numbers under other names."""
    vision = tf.CLIPVisionModel(tf.CLIPVisionConfig(**VISION))
    state = vision.state_dict()
    theirs = {"class_embedding": state["vision_model.embeddings.class_embedding"],
              "conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
              "positional_embedding": state["vision_model.embeddings.position_embedding.weight"]}
    for ours, name in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        theirs |= {f"{name}.{k}": state[f"vision_model.{ours}.{k}"] for k in ("weight", "bias")}
    for i in range(2):
        layer, block = f"vision_model.encoder.layers.{i}", f"transformer.resblocks.{i}"
        for k in ("weight", "bias"):
            theirs[f"{block}.attn.in_proj_{k}"] = torch.cat([state[f"{layer}.self_attn.{p}_proj.{k}"] for p in "qkv"])
            for name, ours in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                               ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
                               ("mlp.c_proj", "mlp.fc2")):
                theirs[f"{block}.{name}.{k}"] = state[f"{layer}.{ours}.{k}"]
    converted = open_flamingo.from_open_clip(theirs)
    assert set(converted) == {k for k in state if "position_ids" not in k}
    assert all(torch.equal(converted[k], state[k]) for k in converted)


def test_open_flamingo_from_one_file(tmp_path):
    """The state dict alone, configs in config.json, gated blocks under their other name."""
    lm = tf.LlamaForCausalLM(llama())
    vision = tf.CLIPVisionModel(tf.CLIPVisionConfig(**VISION))
    lm.resize_token_embeddings(52)
    perceiver = open_flamingo.Perceiver(20, 16, 8, 3, 1, 24)
    blocks = {1: open_flamingo.GatedBlock(24, 20, 16, 8, 32)}
    state = ({f"lang_encoder.{k}": v for k, v in lm.state_dict().items()}
             | {f"vision_encoder.{k}": v for k, v in vision.state_dict().items()})
    state |= ({f"perceiver.{k}": v for k, v in perceiver.state_dict().items()}
              | {f"lang_encoder.gated_cross_attn_layers.1.{k}": v
                 for k, v in blocks[1].state_dict().items()})
    torch.save(state, tmp_path / "checkpoint.pt")
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"lang_encoder": lm.config.to_dict(), "vision_encoder": vision.config.to_dict()}))
    words().save_pretrained(tmp_path)
    assert main(
        [str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "bundle"), "--attention-maps",
         "--quiet"]) == 0
    meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
    assert meta["cross_layers"] == [1] and meta["tokens_per_image"] == 3
    del state["lang_encoder.model.norm.weight"]
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ExportError, match="model.norm.weight"):
        export_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "other", progress=False)


def test_open_flamingo_of_transformers_5_in_one_file(tmp_path, capsys):
    """Configurations that stand in config.json itself, as 5.24 writes them, give the same graphs."""
    flamingo_checkpoint(tmp_path / "parts")
    export_checkpoint(tmp_path / "parts", tmp_path / "before", progress=False)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    whole.mkdir()
    state = torch.load(parts / "checkpoint.pt")
    for name, cls in (("lang_encoder", tf.LlamaForCausalLM), ("vision_encoder", tf.CLIPVisionModel)):
        state |= {f"{name}.{k}": v for k, v in cls.from_pretrained(parts / name).state_dict().items()}
    torch.save(state, whole / "checkpoint.pt")
    words().save_pretrained(whole)
    shutil.copy(parts / "vision_encoder" / "preprocessor_config.json", whole)
    configs = {n: json.loads((parts / n / "config.json").read_text()) | {"transformers_version": "5.24.0"}
               for n in ("lang_encoder", "vision_encoder")}
    rope = {k: configs["lang_encoder"].pop(k) for k in ("rope_theta", "rope_scaling")}
    configs["lang_encoder"]["rope_parameters"] = {"rope_theta": rope["rope_theta"], "rope_type": "default"}
    (whole / "config.json").write_text(json.dumps(configs | {"model_type": "open_flamingo"}))
    edit(whole / "tokenizer_config.json", backend="tokenizers", extra_special_tokens=[], added_tokens_decoder=None)
    export_checkpoint(whole, tmp_path / "after", progress=False)
    metas = [json.loads((tmp_path / n / "xpipe.json").read_text()) for n in ("before", "after")]
    assert len({m["sha256"]["onnx/decoder_model_merged.onnx"] for m in metas}) == 1
    assert metas[1]["tokenizer_follows"] == "transformers 5.24.0"
    configs["lang_encoder"]["gated_residual_scale"] = 0.5
    (whole / "config.json").write_text(json.dumps(configs | {"model_type": "open_flamingo"}))
    assert "has gated_residual_scale for llama" in export_error(capsys, whole, tmp_path / "bundle")


def test_refusals(tmp_path, capsys):
    def fails(message, *args):
        assert main([*args, "--quiet"]) == 1
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err

    out = ["--out", str(tmp_path / "bundle")]
    fails("does not exist", str(tmp_path / "nothing"), *out)
    (tmp_path / "empty").mkdir()
    fails("no config.json", str(tmp_path / "empty"), *out)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"architectures": ["BertModel"]}')
    fails("known are Blip2", str(tmp_path / "bert"), *out)
    (tmp_path / "bert" / "config.json").write_text("{")
    fails("is not JSON", str(tmp_path / "bert"), *out)
    (tmp_path / "of" / "lang_encoder").mkdir(parents=True)
    fails("lang encoder is expected", str(tmp_path / "of"), *out)
    save(clip(), tmp_path / "clip")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").write_text("x")
    fails("exists", str(tmp_path / "clip"), *out)
    fails("not a bundle", str(tmp_path / "clip"), *out, "--force")
    assert (tmp_path / "bundle" / "mine").read_text() == "x"
    model = clip()
    state = {k: v for k, v in model.state_dict().items() if k != "text_projection.weight"}
    save(model, tmp_path / "part", state_dict=state)
    fails("lacks 1 of the weights of CLIPModel: text_projection.weight", str(tmp_path / "part"),
          "--out", str(tmp_path / "new"))
    with pytest.raises(SystemExit) as e:
        main([str(tmp_path / "clip"), *out, "--opset", "11"])
    assert e.value.code == 2


def test_debug_says_where(tmp_path, capsys):
    assert main([str(tmp_path / "nothing"), "--out", str(tmp_path / "bundle"), "--quiet", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "in resolve" in err and err.splitlines()[-1].startswith("xpipe-export: "), err


def test_lxmert_labels(tmp_path):
    save(lxmert(tf.LxmertForQuestionAnswering), tmp_path / "checkpoint")
    (tmp_path / "nine.txt").write_text("\n".join(f"answer {i}" for i in range(9)))
    assert main(
        [str(tmp_path / "checkpoint"), "--out", str(tmp_path / "b"), "--labels",
         str(tmp_path / "nine.txt"), "--quiet"]) == 0
    assert json.loads((tmp_path / "b" / "labels.json").read_text())[8] == "answer 8"
    (tmp_path / "few.txt").write_text("yes\nno")
    with pytest.raises(ExportError, match="2 labels for 9 answers"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "c", labels=str(tmp_path / "few.txt"), progress=False)


def test_slow_tokenizer_is_converted(tmp_path):
    save(clip(vocab_size=210), tmp_path / "checkpoint", tokens.bert())
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    assert (tmp_path / "bundle" / "tokenizer.json").is_file()


def test_siglip_tokenizer_is_converted(tmp_path):
    """SigLIP's tokenizer exists in Python only; what the exporter writes must give its ids,
    punctuation and case included."""
    save(siglip(), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    (tmp_path / "checkpoint" / "spiece.model").write_bytes(tokens.t5_model())
    slow = tf.SiglipTokenizer(str(tmp_path / "checkpoint" / "spiece.model"))
    slow.save_pretrained(tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    ours = Tokenizer.from_file(str(tmp_path / "bundle" / "tokenizer.json"))
    for text in ["Two boats, near the WATER!", "a photo of a red cat on the grass",
                 "what's this?  (a-b_c)", "\tthe dog\nsleeps ", "caf\u00e9 \u6f22\u5b57"]:
        assert ours.encode(text).ids == slow(text).input_ids, text


def export_error(capsys, checkpoint, out, *more):
    """The one line that an export ends with, where it must fail and leave nothing behind."""
    assert main([str(checkpoint), "--out", str(out), "--quiet", *more]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Traceback" not in err, err
    assert not out.exists() and not out.with_name(out.name + ".partial").exists()
    return err


def edit(file, **changes):
    """Change keys of a JSON file; a value of None drops the key."""
    value = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in value.items() if v is not None}))


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


def shards(folder):
    tf.CLIPModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    (folder / "model-00002-of-00003.safetensors").unlink(missing_ok=True)
    next(iter(folder.glob("model-00001*"))).unlink(missing_ok=True)


POINTER = ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e"
           "adbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n")

FAULTS = {
    "tokenizer": ("has no tokenizer.json", lambda f: (f / "tokenizer.json").unlink()),
    "image-processor": ("has no preprocessor_config.json",
                        lambda f: (f / "preprocessor_config.json").unlink()),
    "tokenizer-not-json": ("cannot read the tokenizer", lambda f: (f / "tokenizer.json").write_text("{")),
    "no-weights": ("has no weights", lambda f: (f / "model.safetensors").unlink()),
    "missing-shard": ("that are not there", shards),
    "truncated": ("bytes where its header says", lambda f: cut(f / "model.safetensors", 30000)),
    "truncated-header": ("cut off", lambda f: cut(f / "model.safetensors", 100)),
    "empty-weights": ("cut off", lambda f: cut(f / "model.safetensors", 0)),
    "lfs": ("model.safetensors is a Git LFS pointer", lambda f: (f / "model.safetensors").write_text(POINTER)),
    "lfs-tokenizer": ("tokenizer.json is a Git LFS pointer", lambda f: (f / "tokenizer.json").write_text(POINTER)),
    "bitsandbytes": ("quantised by bitsandbytes", lambda f: edit(
        f / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})),
    "gptq": ("quantised by gptq", lambda f: edit(
        f / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})),
    "awq-old": ("quant_config.json: the weights are quantised",
                lambda f: (f / "quant_config.json").write_text('{"w_bit": 4}')),
    "picture-size": ("makes pictures of 32 x 32 pixels, the model takes 24 x 24",
                     lambda f: edit(f / "preprocessor_config.json", size={"height": 32, "width": 32})),
    "vocabulary": ("the model's vocabulary 60 rows", lambda f: words(80).save_pretrained(f)),
    "sizes": ("have other sizes than config.json says", lambda f: edit(f / "config.json", projection_dim=12)),
    "adapter-alone": ("PEFT adapter alone", lambda f: (f / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 2, "base_model_name_or_path": "somebody/else"}')),
    "adapter-kind": ("adapter of type PREFIX_TUNING", lambda f: (f / "adapter_config.json").write_text(
        '{"peft_type": "PREFIX_TUNING"}')),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_checkpoints_are_refused_in_one_line(tmp_path, capsys, name):
    message, spoil = FAULTS[name]
    save(clip(), tmp_path / "checkpoint")
    spoil(tmp_path / "checkpoint")
    err = export_error(capsys, tmp_path / "checkpoint", tmp_path / "bundle")
    assert message in err
    assert main([str(tmp_path / "checkpoint"), "--out", str(tmp_path / "bundle"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_missing_qformer_tokenizer_is_refused(tmp_path, capsys):
    save(instruct(opt()), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "qformer_tokenizer" / "tokenizer.json").unlink()
    assert "qformer_tokenizer has no tokenizer.json" in export_error(
        capsys, tmp_path / "checkpoint", tmp_path / "bundle")


def test_adapter_is_merged_into_its_base(tmp_path, capsys):
    torch.manual_seed(3)
    base = clip()
    save(base, tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    name, generator = "text_model.encoder.layers.1.self_attn.q_proj", torch.Generator().manual_seed(4)
    down, up = torch.randn(2, 18, generator=generator), torch.randn(18, 2, generator=generator)
    projection = torch.randn(14, 18, generator=generator)
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6, "base_model_name_or_path": "../base"}))
    prefix = f"base_model.model.{name}"
    state = {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": up,
             "base_model.model.text_projection.weight": projection}
    save_file(state, tmp_path / "adapter" / "adapter_model.safetensors")
    export_checkpoint(tmp_path / "adapter", tmp_path / "adapted", progress=False)
    with torch.no_grad():
        base.get_submodule(name).weight += 3 * (up @ down)
        base.text_projection.weight.copy_(projection)
    save(base, tmp_path / "merged")
    export_checkpoint(tmp_path / "merged", tmp_path / "whole", progress=False)
    files = [json.loads((tmp_path / n / "xpipe.json").read_text())["sha256"] for n in ("adapted", "whole")]
    for file in ("onnx/text_model.onnx", "projection.safetensors"):
        assert files[0][file] == files[1][file]
    state[f"{prefix}.lora_B.weight"] = up[:5].contiguous()
    save_file(state, tmp_path / "adapter" / "adapter_model.safetensors")
    assert "has no place in" in export_error(capsys, tmp_path / "adapter", tmp_path / "bundle")


def provenance(bundle):
    return json.loads((bundle / "xpipe.json").read_text())["provenance"]


def mistral(**changes):
    return tf.MistralConfig(
        **({"vocab_size": 50, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
            "sliding_window": 4} | changes))


def strong(model, seed=11):
    """Weights that make the answers depend on what is attended to."""
    core.randomise(model, seed)
    core.randomise(model.language_model, seed + 1, gain=2.5, embed=0.4)
    return model


MIXED = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "sliding_window": 4}
TEXTS = {
    "mistral": lambda: mistral(),
    "opt-narrow": lambda: opt(word_embed_proj_dim=16),
    "qwen2": lambda: tf.Qwen2Config(**MIXED, use_sliding_window=True, max_window_layers=1),
    "gemma3": lambda: tf.Gemma3TextConfig(**MIXED, head_dim=8, query_pre_attn_scalar=8, rope_theta=5000.0,
                                          rope_local_base_freq=100.0,
                                          layer_types=["sliding_attention", "full_attention"]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_bundle_answers_as_generate_does(tmp_path, name, monkeypatch):
    """A window of 4 that graph and wrapper both left out, in all layers or in every second one;
    embeddings narrower than hidden states."""
    text = TEXTS[name]()
    save(strong(blip2(text, image_token_index=49)), tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    found = provenance(tmp_path / "bundle")["end_to_end"]
    assert found["max_rel_diff"] < 1e-5 and found["tokens"] >= 8
    if name == "mistral":
        monkeypatch.setattr(causal, "windows", lambda _config: {"full_attention": None})
        with pytest.raises(ExportError, match="differs from the checkpoint's own generate"):
            export_checkpoint(tmp_path / "checkpoint", tmp_path / "other", progress=False)
        assert not (tmp_path / "other").exists()


def test_clip_that_pads_with_a_mark(tmp_path):
    """transformers makes the pad token "!" a token of its own when it loads the tokenizer."""
    tokenizer = tokens.clip()
    save(clip(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id), tmp_path / "checkpoint", tokenizer)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        edit(tmp_path / "checkpoint" / name, pad_token="!")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    theirs = tf.AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
    ours = Tokenizer.from_file(str(tmp_path / "bundle" / "tokenizer.json"))
    old = Tokenizer.from_file(str(tmp_path / "checkpoint" / "tokenizer.json"))
    text = "a red cat! wow !"
    assert old.encode(text).ids != theirs(text).input_ids == ours.encode(text).ids


def as_saved_by_5(folder, tokenizer_class="TokenizersBackend", **text):
    """Rewrite a checkpoint's configuration as transformers 5.24 saves it."""
    config = json.loads((folder / "config.json").read_text()) | {"transformers_version": "5.24.0"}
    config["text_config"] = {k: v for k, v in (config["text_config"] | text).items() if v is not None}
    (folder / "config.json").write_text(json.dumps(config))
    images = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": images}))
    (folder / "preprocessor_config.json").unlink()
    edit(folder / "tokenizer_config.json", backend="tokenizers", extra_special_tokens=[],
         added_tokens_decoder=None, tokenizer_class=tokenizer_class)
    (folder / "special_tokens_map.json").unlink()


@pytest.mark.parametrize("name", ["llama", "t5-untied", "t5-tied"])
def test_saved_again_by_transformers_5(tmp_path, name):
    """The same numbers in the spelling of 5 give the same graphs."""
    if name == "llama":
        text, changes = llama(rope_theta=500.0), {
            "rope_theta": None, "rope_scaling": None,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}
    else:
        tied = name == "t5-tied"
        text = t5(tie_word_embeddings=tied)
        changes = {"tie_word_embeddings": True, "scale_decoder_outputs": tied}
    save(strong(blip2(text, image_token_index=49)), tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "before", progress=False)
    as_saved_by_5(tmp_path / "checkpoint", **changes)
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "after", progress=False)
    metas = [json.loads((tmp_path / n / "xpipe.json").read_text()) for n in ("before", "after")]
    assert [m["sha256"]["onnx/decoder_model_merged.onnx"] for m in metas][0] == \
        metas[1]["sha256"]["onnx/decoder_model_merged.onnx"]
    assert [m["tokenizer_follows"] for m in metas] == ["transformers 4.57.6", "transformers 5.24.0"]
    assert (tmp_path / "after" / "preprocessor_config.json").is_file()


def test_llama_tokenizer_that_5_saved_reads_as_5_does(tmp_path):
    """5.24 loads its own file so: the first word behind a special token has no space before it."""
    tokenizer = tokens.llama()
    save(blip2(llama(vocab_size=500), image_token_index=499), tmp_path / "checkpoint", tokenizer)
    as_saved_by_5(tmp_path / "checkpoint", tokenizer_class="LlamaTokenizer")
    edit(tmp_path / "checkpoint" / "tokenizer_config.json", legacy=None)
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    ours = Tokenizer.from_file(str(tmp_path / "bundle" / "tokenizer.json"))
    assert ours.encode("</s>a cat", add_special_tokens=False).tokens[:2] == ["</s>", "a"]
    assert ours.encode("a cat", add_special_tokens=False).tokens[0] == "\u2581a"
    assert tokenizer.tokenize("</s>a cat")[1] == "\u2581a"


def test_rope_of_each_type_of_layer(tmp_path, capsys):
    """5 keeps Gemma 3's two bases in rope_parameters, by type of layer."""
    save(strong(blip2(TEXTS["gemma3"](), image_token_index=49)), tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "before", progress=False)
    rope = {"full_attention": {"rope_theta": 5000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"}}
    as_saved_by_5(tmp_path / "checkpoint", rope_theta=None, rope_local_base_freq=None, rope_scaling=None,
                  rope_parameters=rope)
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "after", progress=False)
    metas = [json.loads((tmp_path / n / "xpipe.json").read_text()) for n in ("before", "after")]
    assert len({m["sha256"]["onnx/decoder_model_merged.onnx"] for m in metas}) == 1
    rope["sliding_attention"] |= {"rope_type": "linear", "factor": 2.0}
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    config["text_config"]["rope_parameters"] = rope
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(config))
    assert "for layers of sliding attention: not supported" in export_error(
        capsys, tmp_path / "checkpoint", tmp_path / "bundle")


def test_siglip_tokenizer_that_5_saved(tmp_path):
    """5 saves spiece.model alone and says that the tokenizer's backend is sentencepiece."""
    save(siglip(), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    (tmp_path / "checkpoint" / "spiece.model").write_bytes(tokens.t5_model())
    slow = tf.SiglipTokenizer(str(tmp_path / "checkpoint" / "spiece.model"))
    slow.save_pretrained(tmp_path / "checkpoint")
    as_saved_by_5(tmp_path / "checkpoint", tokenizer_class="SiglipTokenizer")
    edit(tmp_path / "checkpoint" / "tokenizer_config.json", backend="sentencepiece",
         added_tokens_decoder=json.loads(json.dumps({i: t.__getstate__() for i, t in
                                                     slow.added_tokens_decoder.items()})))
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    ours = Tokenizer.from_file(str(tmp_path / "bundle" / "tokenizer.json"))
    assert ours.encode("Two boats, near the WATER!").ids == slow("Two boats, near the WATER!").input_ids


def program(folder, script):
    """An xpipe that is a shell script."""
    file = folder / "xpipe"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_the_program_tries_the_bundle(tmp_path, capsys, monkeypatch):
    save(clip(), tmp_path / "checkpoint")
    said = tmp_path / "said"
    monkeypatch.setenv("XPIPE", program(tmp_path, f'echo "$@" > {said}; echo \'{{"probability": 1}}\''))
    assert main([str(tmp_path / "checkpoint"), "--out", str(tmp_path / "bundle"), "--quiet"]) == 0
    words = said.read_text().split()
    assert words[0] == "match" and f"{tmp_path}/bundle.partial" in words
    monkeypatch.setenv("XPIPE", program(tmp_path, "echo no such operator >&2; exit 4"))
    assert "match fails on the bundle with status 4: no such operator" in export_error(
        capsys, tmp_path / "checkpoint", tmp_path / "other")
    monkeypatch.setenv("XPIPE", str(tmp_path / "nothing"))
    assert "is no program" in export_error(capsys, tmp_path / "checkpoint", tmp_path / "other")


def flamingo_checkpoint(folder):
    """An OpenFlamingo directory: trained parts in checkpoint.pt, backbones in their own folders."""
    torch.manual_seed(9)
    lm, vision = tf.LlamaForCausalLM(llama()), tf.CLIPVisionModel(tf.CLIPVisionConfig(**VISION))
    perceiver, block = open_flamingo.Perceiver(20, 16, 8, 3, 1, 80), open_flamingo.GatedBlock(24, 20, 16, 8, 96)
    for seed, part in enumerate((lm, vision, perceiver, block)):
        core.randomise(part, seed, embed=0.4)
    state = {f"perceiver.{k}": v for k, v in perceiver.state_dict().items()}
    state |= {f"lang_encoder.gated_cross_attn_layers.1.{k}": v for k, v in block.state_dict().items()}
    lm.save_pretrained(folder / "lang_encoder")
    words().save_pretrained(folder / "lang_encoder")
    vision.save_pretrained(folder / "vision_encoder")
    tf.CLIPImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}).save_pretrained(
        folder / "vision_encoder")
    torch.save(state, folder / "checkpoint.pt")


FLAMINGO_FAULTS = {
    "lfs": ("checkpoint.pt is a Git LFS pointer", lambda f: (f / "checkpoint.pt").write_text(POINTER)),
    "cut": ("is cut off or no state dict", lambda f: cut(f / "checkpoint.pt", 3000)),
    "lang-cut": ("bytes where its header says", lambda f: cut(f / "lang_encoder" / "model.safetensors", 9000)),
    "tokenizer": ("has no tokenizer.json", lambda f: (f / "lang_encoder" / "tokenizer.json").unlink()),
    "vocabulary": ("the model's vocabulary 50 rows", lambda f: words(80).save_pretrained(f / "lang_encoder")),
    "picture-size": ("makes pictures of 32 x 32", lambda f: edit(
        f / "vision_encoder" / "preprocessor_config.json", crop_size={"height": 32, "width": 32})),
    "quantised": ("quantised by gptq", lambda f: edit(
        f / "lang_encoder" / "config.json", quantization_config={"quant_method": "gptq"})),
}


@pytest.mark.parametrize("name", [None, *FLAMINGO_FAULTS])
def test_open_flamingo_files(tmp_path, capsys, name):
    flamingo_checkpoint(tmp_path / "checkpoint")
    if name is None:
        meta = export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
        assert meta["provenance"]["end_to_end"]["max_rel_diff"] < 1e-5
        assert meta["tokenizer_follows"] == "transformers 4.57.6"
        return
    message, spoil = FLAMINGO_FAULTS[name]
    spoil(tmp_path / "checkpoint")
    assert message in export_error(capsys, tmp_path / "checkpoint", tmp_path / "bundle")


@pytest.mark.parametrize("rope", [{"rope_type": "dynamic", "factor": 2.0},
                                  {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0] * 3, "long_factor": [2.0] * 3,
                                   "original_max_position_embeddings": 32},
                                  {"type": "longrope", "factor": 2.0, "short_factor": [1.0] * 3, "long_factor": [2.0] * 3,
                                   "original_max_position_embeddings": 32}],
                         ids=["dynamic", "longrope", "as Phi-3.5 spells it"])
def test_rope_that_depends_on_the_length_is_refused(tmp_path, capsys, rope):
    save(blip2(llama(rope_scaling=rope), image_token_index=49), tmp_path / "checkpoint")
    kind = rope.get("rope_type") or rope["type"]
    assert f"rope_scaling of type '{kind}'" in export_error(capsys, tmp_path / "checkpoint", tmp_path / "bundle")


def test_keys_that_4_57_does_not_know_are_refused(tmp_path, capsys):
    save(blip2(llama(), image_token_index=49), tmp_path / "checkpoint")
    as_saved_by_5(tmp_path / "checkpoint", gated_residual_scale=0.5)
    assert "has gated_residual_scale for llama" in export_error(
        capsys, tmp_path / "checkpoint", tmp_path / "bundle")
