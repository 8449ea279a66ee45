"""python -m xpipe_export.golden.further_layouts [--out DIR] [--only NAME ...]: FastVLM and Janus as
transformers.js lays them out, with the ids that PyTorch's generate gives.

FastVLM, whose class is code in its checkpoint, is timm's FastViT-HD of few narrow stages and
transformers' Qwen2, joined as in LLaVA (pip install --no-deps timm==1.0.31 beside the exporter's
environment). Janus is transformers' JanusForConditionalGeneration, cut as the class in its
checkpoint is: prepare_inputs_embeds, language_model, lm_head.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from functools import partial
from pathlib import Path

import onnx
import onnxruntime as ort
import timm
import torch
import transformers as tf
from timm.layers import LayerNorm2d
from timm.models.fastvit import RepConditionalPosEnc
from timm.utils import reparameterize_model
from torch import nn
from transformers.models.janus import modeling_janus

from ..families import causal
from ..graph import GraphSpec, export_graph
from . import core, tokens
from .aim_layouts import BLIND, NEW, SEVERAL, ByGraphs, qwen_tokenizer, write_lm
from .decoders import clean, configurations, llama, say
from .seeing_layouts import Rows, SHAPES, finished, text_spec, whole

SIDE = 128  # of FastVLM's pictures: two by two rows

FASTVLM = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful "
           "assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
           "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


class FastVision(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D]"""

    def __init__(self, width: int):
        super().__init__()
        place = partial(RepConditionalPosEnc, spatial_shape=(7, 7))
        self.tower = timm.create_model(
            "fastvit_mci3", layers=(1, 1, 1, 1, 1), embed_dims=(8, 8, 16, 32, 32), mlp_ratios=(2,) * 5, pos_embs=(None, None, None, place, place),
            norm_layer=partial(LayerNorm2d, eps=1e-5), num_classes=0)
        self.project = nn.Sequential(nn.Linear(self.tower.num_features, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, pixel_values):
        return self.project(self.tower.forward_features(pixel_values).flatten(2).transpose(1, 2))


class Said(ByGraphs):
    """Contents are texts, in which <image> and a line stand for a picture."""

    def talk(self, chats: list) -> None:
        for chat, which in chats:
            flat = [{"role": m["role"], "content": "".join("<image>\n" if c["type"] == "image" else c["text"] for c in m["content"])
                     if isinstance(m["content"], list) else m["content"]} for m in chat]
            text = self.processor.tokenizer.apply_chat_template(flat, add_generation_prompt=True, tokenize=False)
            self.add(text, which, messages=chat)


def fastvlm(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = qwen_tokenizer(["<image>"])
    token = tokenizer.convert_tokens_to_ids
    tokenizer.chat_template = FASTVLM
    text = dict(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, eos_token_id=token("<|im_end|>"))
    lm = finished(seed, work, tf.Qwen2ForCausalLM(tf.Qwen2Config(**text)))
    lm.generation_config.eos_token_id = tokenizer.eos_token_id
    vision = FastVision(32)
    core.randomise(vision, seed, gain=1.5)
    vision = reparameterize_model(vision.eval())
    pixels = tf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    processor = tf.LlavaProcessor(pixels, tokenizer, chat_template=FASTVLM)
    rows = Said(lm, processor, core.make_images(work), vision)
    rows.talk([([say("user", None, "what is this?")], [name]) for name in SHAPES[:3]])
    rows.talk([SEVERAL, BLIND])
    rows.check()
    configurations(folder, processor, lm)
    settings = {"model_type": "llava_qwen2", "architectures": ["LlavaQwen2ForCausalLM"], "image_token_index": token("<image>"),
                "mm_hidden_size": vision.tower.num_features, "mm_projector_type": "mlp2x_gelu", "mm_vision_tower": "mobileclip_l_1024"}
    (folder / "config.json").write_text(json.dumps(lm.config.to_dict() | settings, indent=1) + "\n")
    write_lm(folder, lm, GraphSpec(
        vision, lambda s: {"pixel_values": torch.randn(s["images"], 3, SIDE, SIDE)}, ["image_features"],
        {"pixel_values": ["images", 3, SIDE, SIDE], "image_features": ["images", 4, 32]}, {"images": 2}, [{"images": 1}]))
    return {"rows": rows.rows}


JANUS = ("{% set ns = namespace(system='') %}{% for message in messages %}{% if message['role'] == 'system' %}{% set ns.system = "
         "message['content'] %}{% endif %}{% endfor %}{{ bos_token }}{{ ns.system }}{% for message in messages %}"
         "{% if message['role'] == 'user' %}{{ '<|User|>: ' + message['content'] + '\n\n' }}{% elif message['role'] == 'assistant' %}"
         "{{ '<|Assistant|>: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|Assistant|>:' }}{% endif %}")


def without_pictures() -> None:
    """Sizes that stand in the graph, so that it takes no picture, too, as transformers.js runs it for texts."""
    def embed(self, pixel_values, interpolate_pos_encoding=False):
        patches = self.patch_embedding(pixel_values).reshape(-1, self.embed_dim, self.num_patches).transpose(1, 2)
        return patches + self.position_embedding.weight[None]

    modeling_janus.JanusVisionEmbeddings.forward = embed


class Prepare(nn.Module):
    """input_ids [B,S], pixel_values [B,n,3,H,W], images_seq_mask [B,S], images_emb_mask [B,n,T] -> inputs_embeds [B,S,D]"""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, pixel_values, images_seq_mask, images_emb_mask):
        embeds = self.model.get_input_embeddings()(input_ids)
        seen = self.model.model.get_image_features(pixel_values.flatten(0, 1)).flatten(0, 1)
        return embeds.index_put((images_seq_mask,), seen[images_emb_mask.flatten()])


class Language(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.text, self.config = model.model.language_model, model.config.text_config

    def forward(self, inputs_embeds, attention_mask, position_ids, *past):
        length = inputs_embeds.shape[1]
        out = self.text(inputs_embeds=inputs_embeds, attention_mask=causal.causal_mask(attention_mask, length), position_ids=position_ids,
                        past_key_values=(cache := causal.past_cache(past)), use_cache=True,
                        cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        return out.last_hidden_state, *causal.cache_tensors(cache)


class Placed(Said):
    """Janus: <image_placeholder> is a picture in texts, its rows stand between two marks."""

    def talk(self, chats: list) -> None:
        for chat, which in chats:
            flat = [{"role": m["role"], "content": "".join("<image_placeholder>\n" if c["type"] == "image" else c["text"] for c in m["content"])
                     if isinstance(m["content"], list) else m["content"]} for m in chat]
            text = self.processor.tokenizer.apply_chat_template(flat, add_generation_prompt=True, tokenize=False)
            self.add(text, which, messages=chat)

    def inputs(self, text, pictures) -> dict:
        text = text.replace("<image_placeholder>", "<begin_of_image>" + "<image_placeholder>" * 16 + "<end_of_image>")
        made = dict(self.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt"))
        if pictures:
            made["pixel_values"] = torch.cat([torch.from_numpy(self.pixels(text, p)["pixel_values"]) for p in pictures])
        return made

    def pixels(self, text, alone) -> dict:
        return {"pixel_values": self.processor.image_processor([alone], return_tensors="np").pixel_values}

    def generate(self, ids, extra):
        return Rows.generate(self, ids, extra)


class PlainProcessor:
    def __init__(self, image_processor, tokenizer):
        self.image_processor, self.tokenizer = image_processor, tokenizer


def janus(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tokens.llama(extra=["<begin_of_image>", "<image_placeholder>", "<end_of_image>", "<|User|>", "<|Assistant|>"])
    token = tokenizer.convert_tokens_to_ids
    text = llama(tokenizer, vocab_size=whole(tokenizer)).to_dict()
    config = tf.JanusConfig(
        text_config=text, image_token_id=token("<image_placeholder>"), tie_word_embeddings=False,
        vision_config=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, patch_size=8, image_size=32, mlp_ratio=1.5,
                           projection_dim=32, num_image_tokens=16),
        vq_config=dict(embed_dim=4, num_embeddings=8, latent_channels=32, num_patches=2, base_channels=32, channel_multiplier=[1, 1], num_res_blocks=1,
                       projection_dim=32, image_token_embed_dim=32))
    model = finished(seed, work, tf.JanusForConditionalGeneration(config))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    pixels = tf.JanusImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    tokenizer.chat_template = JANUS
    rows = Placed(model, PlainProcessor(pixels, tokenizer), core.make_images(work), None)
    rows.talk([([say("user", None, "what is this?")], [name]) for name in SHAPES[:4]])
    rows.talk([SEVERAL, BLIND])
    rows.check()
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as tmp:
        tokenizer.save_pretrained(tmp)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(Path(tmp) / name, folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = [{"name": "default", "template": JANUS}, {"name": "text_to_image", "template": "{{ 'no' }}"}]
    write = lambda name, made: (folder / name).write_text(json.dumps(made, indent=1) + "\n")
    write("tokenizer_config.json", settings)
    write("config.json", {"model_type": "multi_modality", "architectures": ["MultiModalityCausalLM"], "language_config": text})
    write("generation_config.json", {"bos_token_id": 1, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0})
    write("preprocessor_config.json", {
        "background_color": [127, 127, 127], "do_normalize": True, "image_mean": [0.5] * 3, "image_processor_type": "VLMImageProcessor",
        "image_size": 32, "image_std": [0.5] * 3, "min_size": 14, "processor_class": "VLChatProcessor", "rescale_factor": 1 / 255})
    write("processor_config.json", {
        "add_special_token": False, "ignore_id": -100, "image_end_tag": "<end_of_image>", "image_start_tag": "<begin_of_image>",
        "image_tag": "<image_placeholder>", "mask_prompt": True, "num_image_tokens": 16, "processor_class": "VLChatProcessor", "sft_format": "deepseek"})
    without_pictures()
    plain = text_spec(model, None)
    axes = {n: a for n, a in plain.axes.items() if n != "logits"} | {"last_hidden_state": ["batch", "length", 32]}

    def prompt(s):
        mask, own = torch.zeros(s["batch"], s["length"], dtype=torch.bool), torch.ones(s["batch"], s["images"], 16, dtype=torch.bool)
        mask[:, 1:1 + 16 * s["images"]] = True
        return {"input_ids": torch.randint(0, config.text_config.vocab_size, mask.shape),
                "pixel_values": torch.randn(s["batch"], s["images"], 3, 32, 32), "images_seq_mask": mask, "images_emb_mask": own}

    specs = {
        "prepare_inputs_embeds": GraphSpec(
            Prepare(model), prompt, ["inputs_embeds"],
            {"input_ids": ["batch", "length"], "pixel_values": ["pictured", "images", 3, 32, 32], "images_seq_mask": ["batch", "length"],
             "images_emb_mask": ["pictured", "images", "tokens"], "inputs_embeds": ["batch", "length", 32]}, {"batch": 2, "length": 70, "images": 3},
            [{"batch": 1, "length": 16 + 3, "images": 1}, {"batch": 3, "length": 60, "images": 2}]),
        "language_model": GraphSpec(Language(model), plain.make, ["last_hidden_state", *plain.outputs[1:]], axes, plain.trace, plain.checks),
        "lm_head": GraphSpec(model.lm_head, lambda s: {"last_hidden_state": torch.randn(s["batch"], s["length"], 32)}, ["logits"],
                             {"last_hidden_state": ["batch", "length", 32], "logits": ["batch", "length", config.text_config.vocab_size]},
                             {"batch": 2, "length": 5}, [{"batch": 1, "length": 1}]),
    }
    for name, spec in specs.items():
        export_graph(spec, folder / "onnx" / f"{name}.onnx")
        clean(folder / "onnx" / f"{name}.onnx")
    return {"rows": rows.rows}


FOLDERS = {"fastvlm-transformersjs": fastvlm, "janus-transformersjs": janus}


def build(name: str, out: Path) -> None:
    folder, golden = out / name, {}

    def attempt(seed: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            golden.update(FOLDERS[name](seed, Path(tmp), folder))

    seed = core.search(attempt, 1)
    about = {"script": f"python -m xpipe_export.golden.further_layouts --only {name}", "seed": seed,
             "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__, "timm": timm.__version__}, "new": NEW}
    (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False) + "\n")
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.further_layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", default=list(FOLDERS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("root").setLevel(logging.ERROR)
    tf.utils.logging.set_verbosity_error()
    for name in args.only:
        build(name, args.out)


if __name__ == "__main__":
    main()
