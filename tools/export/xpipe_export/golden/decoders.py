"""python -m xpipe_export.golden.decoders [--out DIR] [--only NAME ...] [--golden]: decoder-only models
in the layouts of other tools, with the ids that PyTorch's generate gives.

Tiny seeded models of the real classes. Graphs of text models are written by optimum-onnx 0.1.0 and
by onnxruntime-genai 0.9.2's builder (pip install --no-deps both, beside optimum 2.3.0), those of
models that see by the wrappers below, under the names of transformers.js. golden.json of each folder
has the prompts and the ids. --golden writes that file again and leaves the graphs: of the same seed,
torch makes the same weights.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import torch
import transformers as tf
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from tokenizers import AddedToken
from torch import nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from ..families import causal
from ..graph import GraphSpec, export_graph
from . import blip_family, core, tokens

NEW = 12
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAVA = ("{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
         "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
         "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
         "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
         "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}"
         "{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}"
         "{{ 'ASSISTANT:' }}{% endif %}")
IDEFICS2 = ("{% for message in messages %}{{message['role'].capitalize()}}{% if message['content'][0]['type'] == 'image' %}"
            "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
            "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
            "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
SMOLVLM = ("<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == "
           "'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
           "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
           "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
QWEN2VL = ("{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a "
           "helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
           "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == "
           "'image' or 'image' in content or 'image_url' in content %}<|vision_start|><|image_pad|><|vision_end|>"
           "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
           "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
ONEVISION = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}{# Render all images first #}{% for content in "
             "message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}{# Render all text next #}"
             "{% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
             "{{ '\n' + content['text'] }}{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', "
             "'text') %}{% generation %}{{ '\n' + content['text'] }}{% endgeneration %}{% endfor %}{% endif %}{{'<|im_end|>'}}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
PROMPTS = ["a photo of a", "the dog sleeps", "Question: what color is the cat? Answer:", "An image of two"]
CHATS = [[{"role": "user", "content": "what color is the boat?"}],
         [{"role": "system", "content": "a photo"}, {"role": "user", "content": "is there a cat?"},
          {"role": "assistant", "content": "yes"}, {"role": "user", "content": "next to a wall?"}]]


SYSTEM, TURNS = "a photo", ["is there a cat?", "next to a wall?", "what color is the boat?"]
WRITE = True  # the graphs


def chat_tokenizer():
    tokenizer = tokens.gpt2()
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(t, normalized=False, special=True) for t in ("<|im_start|>", "<|im_end|>")]})
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = CHATML
    return tokenizer


def llama(tokenizer, **changes) -> tf.LlamaConfig:
    return tf.LlamaConfig(**{
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": False} | changes)


def whole(model, ids: list[int], **inputs) -> tuple[list[int], float]:
    """The new ids of one prompt, and the smallest gap between the two best logits."""
    given = torch.tensor([ids])
    if "max_length" not in inputs:
        inputs["max_new_tokens"] = NEW
    with torch.no_grad():
        out = model.generate(input_ids=given, attention_mask=torch.ones_like(given), do_sample=False,
                             output_scores=True, return_dict_in_generate=True, **inputs)
    best = torch.cat(out.scores).topk(2).values
    return out.sequences[0, given.shape[1]:].tolist(), float((best[:, 0] - best[:, 1]).min())


def greedy(model, ids: list[int], **inputs) -> tuple[list[int], float]:
    """whole without the end token."""
    new, gap = whole(model, ids, **inputs)
    end = model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    return [i for i in new if i not in ends], gap


def converse(model, decode, prompt, turns: list[tuple[str, list]], system: str) -> list[dict]:
    """A conversation in which the model's own answers are read again. prompt makes the text, the ids and
    the other inputs of messages and pictures."""
    messages = [{"role": "system", "content": system}] if system else []
    seen, done = [], []
    for words, images in turns:
        seen += images
        messages.append({"role": "user", "content": [{"type": "image"}] * len(images) + [{"type": "text", "text": words}]})
        text, ids, inputs = prompt(messages, seen)
        new, gap = whole(model, ids, **inputs)
        if gap < core.MIN_GAP:
            raise core.Unsuitable(f"conversation: gap {gap:.2g}")
        answer = decode(new).strip()
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        done.append({"say": words, "images": [i.name for i in images], "text": text, "input_ids": len(ids), "ids": new,
                     "answer": answer})
    return done


def flat(messages: list[dict]) -> list[dict]:
    """messages with texts as their contents, as the templates of language models take them."""
    return [{"role": m["role"], "content": m["content"] if isinstance(m["content"], str) else m["content"][0]["text"]}
            for m in messages]


def clean(path: Path) -> None:
    """Drop the names of nodes, half of so small a graph, and the paths of the exporter."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        del node.metadata_props[:]
    onnx.save(model, path)


def variants(path: Path) -> None:
    """Write path_fp16.onnx, with float32 inputs and outputs, and path_q4.onnx."""
    half = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    onnx.save(half, path.with_name(f"{path.stem}_fp16.onnx"))
    quantizer = MatMulNBitsQuantizer(onnx.load(path), block_size=32, is_symmetric=True)
    quantizer.process()
    onnx.save(quantizer.model.model, path.with_name(f"{path.stem}_q4.onnx"))


def text(seed: int, work: Path, folder: Path, config, export) -> dict:
    tokenizer = chat_tokenizer()
    model = tf.AutoModelForCausalLM.from_config(config(tokenizer))
    core.randomise(model, seed, gain=1.5)
    core.save_rounded(model, work / "checkpoint")
    tokenizer.save_pretrained(work / "checkpoint")
    model = tf.AutoModelForCausalLM.from_pretrained(work / "checkpoint").eval()
    rows, gaps = [], []
    for prompt in PROMPTS:
        ids = tokenizer(prompt).input_ids
        new, gap = greedy(model, ids)
        rows.append({"prompt": prompt, "input_ids": ids, "ids": new})
        gaps.append(gap)
    for chat in CHATS:
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)
        new, gap = greedy(model, ids)
        rows.append({"messages": chat, "text": tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False),
                     "input_ids": ids, "ids": new})
        gaps.append(gap)
    dull = sum(len(set(r["ids"])) < 4 for r in rows)
    if min(gaps) < core.MIN_GAP or dull > 1:
        raise core.Unsuitable(f"gap {min(gaps):.2g}, {dull} dull")
    def prompt(messages, _):
        said = flat(messages)
        return (tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False),
                tokenizer.apply_chat_template(said, add_generation_prompt=True), {})

    talk = converse(model, lambda ids: tokenizer.decode(ids, skip_special_tokens=True), prompt,
                    [(words, []) for words in TURNS], SYSTEM)
    ids = rows[0]["input_ids"]
    most = {"max_length": len(ids) + 5, "row": 0, "ids": whole(model, ids, max_length=len(ids) + 5)[0]}
    if WRITE:
        export(work / "checkpoint", folder)
    return {"rows": rows, "conversation": {"system": SYSTEM, "turns": talk}, "length": most}


def optimum(checkpoint: Path, folder: Path) -> None:
    from optimum.exporters.onnx import main_export
    made = checkpoint.parent / "optimum"
    main_export(str(checkpoint), str(made), task="text-generation-with-past", do_validation=False)
    (folder / "onnx").mkdir(parents=True)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(made / name, folder / name)
    template = made / "chat_template.jinja"
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = template.read_text() if template.exists() else settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    shutil.copyfile(made / "model.onnx", folder / "onnx" / "model.onnx")
    clean(folder / "onnx" / "model.onnx")
    variants(folder / "onnx" / "model.onnx")


def build_genai(checkpoint: Path, made: Path, *extra: str) -> None:
    options = ["--extra_options", *extra] if extra else []
    subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", checkpoint, "-o", made, "-p", "fp32",
                    "-e", "cpu", "-c", checkpoint.parent / "cache", *options],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def genai(checkpoint: Path, folder: Path) -> None:
    made = checkpoint.parent / "genai"
    build_genai(checkpoint, made)
    folder.mkdir(parents=True)
    for name in ("genai_config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx", "model.onnx.data"):
        shutil.copyfile(made / name, folder / name)
    template = made / "chat_template.jinja"
    if template.exists():
        shutil.copyfile(template, folder / template.name)


class Features(nn.Module):
    """pixel_values [N,3,H,W] -> image_features [N,L,D]"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        # get_image_features without its list of pictures, which tracing would freeze
        states = self.model.vision_tower(pixel_values, output_hidden_states=True).hidden_states
        return self.model.multi_modal_projector(states[self.model.config.vision_feature_layer][:, 1:])


class Decoder(causal.CausalDecoder):
    """The decoder with the positions as an input and all logits, as optimum cuts it."""

    def forward(self, inputs_embeds, attention_mask, position_ids, *past):
        length = inputs_embeds.shape[1]
        out = self.lm(inputs_embeds=inputs_embeds, attention_mask=causal.causal_mask(attention_mask, length),
                      position_ids=position_ids, past_key_values=(cache := causal.past_cache(past)), use_cache=True,
                      cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        return out.logits, *causal.cache_tensors(cache)


def decoder_spec(lm: nn.Module) -> GraphSpec:
    layers, heads, dim = causal.cache_shape(lm.config)
    past, present = (causal.cache_names(p, layers) for p in ("past_key_values", "present"))
    axes = {"inputs_embeds": ["batch", "length", lm.config.hidden_size], "attention_mask": ["batch", "total"],
            "position_ids": ["batch", "length"], "logits": ["batch", "length", lm.config.vocab_size]}
    axes |= {n: ["batch", heads, "past", dim] for n in past} | {n: ["batch", heads, "total", dim] for n in present}

    def make(s):
        mask = causal.padded_mask(s["batch"], s["past"], s["length"])
        return {"inputs_embeds": torch.randn(s["batch"], s["length"], lm.config.hidden_size) * 0.1,
                "attention_mask": mask, "position_ids": causal.position_ids(mask, s["length"]).clamp(min=0)} | {
            n: torch.randn(s["batch"], heads, s["past"], dim) for n in past}

    return GraphSpec(Decoder(lm), make, ["logits", *present], axes, {"batch": 2, "length": 4, "past": 5},
                     [{"batch": 1, "length": 7, "past": 0}, {"batch": 3, "length": 1, "past": 11}])


def language_model(model: nn.Module) -> nn.Module:
    """The language model of a model that sees, with its head."""
    lm = tf.LlamaForCausalLM(model.config.text_config)
    inner = model.model
    lm.model, lm.lm_head = getattr(inner, "language_model", None) or inner.text_model, model.lm_head
    return lm.eval()


def three_graphs(model: nn.Module, folder: Path, vision: GraphSpec) -> None:
    """Write the files of transformers.js."""
    if not WRITE:
        return
    graphs = folder / "onnx"
    specs = {"vision_encoder": vision, "decoder_model_merged": decoder_spec(language_model(model)),
             "embed_tokens": causal.embed_spec(model.get_input_embeddings(), model.config.text_config.vocab_size)}
    for name, spec in specs.items():
        export_graph(spec, graphs / f"{name}.onnx")
        clean(graphs / f"{name}.onnx")


def configurations(folder: Path, processor, model) -> None:
    if not WRITE:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        processor.save_pretrained(tmp)
        model.config.save_pretrained(tmp)
        model.generation_config.save_pretrained(tmp)
        for path in Path(tmp).iterdir():
            if path.suffix in (".json", ".jinja") and path.name not in ("vocab.json", "special_tokens_map.json"):
                shutil.copyfile(path, folder / path.name)


def seeing(model, processor, images: list[Path], chats: list, raw: list) -> dict:
    """What golden.json holds; raises Unsuitable."""
    pictures = blip_family.load_images(images)
    rows, gaps = [], []

    def read(text: str, shown: list):
        # as apply_chat_template of processing_utils.py does where it tokenizes, too
        begin = processor.tokenizer.bos_token
        bare = {"add_special_tokens": False} if begin and text.startswith(begin) else {}
        if isinstance(processor, tf.LlavaOnevisionProcessor):  # else each is taken for one alone
            shown = [shown] if shown else shown
        made = processor(text=[text], images=shown or None, return_tensors="pt", **bare)
        made.pop("num_crops", None)
        return made

    def add(row: dict, text: str, which: list[int]) -> None:
        given = read(text, [pictures[i] for i in which])
        extra = {k: v for k, v in given.items() if k not in ("input_ids", "attention_mask")}
        ids = given.input_ids[0].tolist()
        new, gap = greedy(model, ids, **extra)
        rows.append(row | {"images": [images[i].name for i in which], "text": text, "input_ids": ids, "ids": new})
        gaps.append(gap)

    for chat, which in chats:
        text = processor.apply_chat_template(chat, add_generation_prompt=True)
        add({"messages": chat}, text, which)
    for text, which in raw:
        add({"prompt": text}, text, which)
    dull = sum(len(set(r["ids"])) < 4 for r in rows)
    if min(gaps) < core.MIN_GAP or dull > 1:
        raise core.Unsuitable(f"gap {min(gaps):.2g}, {dull} dull")
    if len({tuple(r["ids"]) for r in rows}) < len(rows):
        raise core.Unsuitable("rows alike")

    def given(text: str, which: list[Path]) -> tuple[list[int], dict]:
        made = read(text, [pictures[images.index(i)] for i in which])
        return made.input_ids[0].tolist(), {k: v for k, v in made.items() if k not in ("input_ids", "attention_mask")}

    def prompt(messages, seen):
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        return text, *given(text, seen)

    shown = [images[:1], [], [images[2], images[1]]]
    for order in itertools.permutations(TURNS):  # the first without a near tie
        with contextlib.suppress(core.Unsuitable):
            talk = converse(model, lambda ids: processor.decode(ids, skip_special_tokens=True), prompt,
                            list(zip(order, shown)), "")
            break
    ids, inputs = given(rows[0]["text"], images[:1])
    most = {"max_length": len(ids) + 5, "row": 0, "ids": whole(model, ids, max_length=len(ids) + 5, **inputs)[0]}
    return {"rows": rows, "conversation": {"system": "", "turns": talk}, "length": most}


def say(role: str, *content) -> dict:
    """A message: texts, and None for a picture."""
    return {"role": role, "content": [{"type": "image"} if c is None else {"type": "text", "text": c} for c in content]}


SEEN = [([say("user", None, "what color is the cat?")], [0]),
        ([say("user", None, "what color is the cat?")], [1]),
        ([say("user", None, "is there a dog?"), say("assistant", "yes"), say("user", "a boat?")], [2]),
        ([say("user", None, "a photo"), say("assistant", "of a house"), say("user", None, "and this?")], [1, 0]),
        ([say("user", "how many birds are there?")], [])]


def llava(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tokens.llama(extra=["<image>"])
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                                          image_size=32, patch_size=8, projection_dim=32),
        text_config=llama(tokenizer), image_token_index=image, image_seq_length=16, vision_feature_layer=-2)
    model = tf.LlavaForConditionalGeneration(config)
    core.randomise(model, seed, gain=1.5)
    core.save_rounded(model, work / "checkpoint")
    model = tf.LlavaForConditionalGeneration.from_pretrained(work / "checkpoint", attn_implementation="eager").eval()
    processor = tf.LlavaProcessor(
        tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}), tokenizer, patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=LLAVA)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    made = seeing(model, processor, core.make_images(work), SEEN, [("<image>\na photo of", [0])])
    configurations(folder, processor, model)
    three_graphs(model, folder, GraphSpec(
        Features(model.model), lambda s: {"pixel_values": torch.randn(s["images"], 3, 32, 32)}, ["image_features"],
        {"pixel_values": ["images", 3, 32, 32], "image_features": ["images", 16, 32]},
        {"images": 2}, [{"images": 1}, {"images": 3}]))
    return made


class Tiles(nn.Module):
    """pixel_values [B,N,3,S,S], pixel_attention_mask [B,N,S,S] bool -> image_features [B*N,L,D]

    All pixels of all tiles count, as the image processor makes them; hidden ones are black.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values, pixel_attention_mask):
        pixels = (pixel_values * pixel_attention_mask.float().unsqueeze(2)).flatten(0, 1)
        vision = self.model.vision_model
        states = vision.encoder(inputs_embeds=vision.embeddings(pixels, None), attention_mask=None).last_hidden_state
        return self.model.connector(vision.post_layernorm(states))


def positions_in_order(embeddings: nn.Module) -> None:
    """Number a tile's patches 0, 1, 2 ... as transformers 5.24 does; 4.57 rounds most of them down."""

    def forward(pixel_values, patch_attention_mask):
        patches = embeddings.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        return patches + embeddings.position_embedding.weight

    embeddings.forward = forward


def idefics3(seed: int, work: Path, folder: Path) -> dict:
    places = [f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)]
    tokenizer = tokens.llama(extra=["<|im_start|>", "<global-img>", *places])
    processor = tf.Idefics3Processor(
        tf.Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}), tokenizer,
        image_seq_len=4, chat_template=SMOLVLM)
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = tf.Idefics3Config(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 32, "patch_size": 8},
        text_config=llama(tokenizer, head_dim=16).to_dict(), image_token_id=image, scale_factor=2,
        pad_token_id=tokenizer.pad_token_id)
    model = tf.Idefics3ForConditionalGeneration(config)
    core.randomise(model, seed, gain=1.5)
    core.save_rounded(model, work / "checkpoint")
    model = tf.Idefics3ForConditionalGeneration.from_pretrained(work / "checkpoint", attn_implementation="eager").eval()
    positions_in_order(model.model.vision_model.embeddings)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    made = seeing(model, processor, core.make_images(work), SEEN, [("<image>a photo of", [0])])
    configurations(folder, processor, model)
    three_graphs(model, folder, GraphSpec(
        Tiles(model.model), lambda s: {"pixel_values": torch.randn(s["batch"], s["tiles"], 3, 32, 32),
                                       "pixel_attention_mask": torch.ones(s["batch"], s["tiles"], 32, 32, dtype=torch.bool)},
        ["image_features"], {"pixel_values": ["batch", "tiles", 3, 32, 32], "pixel_attention_mask": ["batch", "tiles", 32, 32],
                             "image_features": ["all", 4, 32]},
        {"batch": 2, "tiles": 3}, [{"batch": 1, "tiles": 1}, {"batch": 1, "tiles": 5}]))
    if not WRITE:
        return made
    # the decoder with GroupQueryAttention and embeddings as its input, as optimised checkpoints have it
    lm = language_model(model)
    lm.save_pretrained(work / "text")
    tokenizer.save_pretrained(work / "text")
    build_genai(work / "text", work / "genai", "exclude_embeds=true")
    onnx.save(onnx.load(work / "genai" / "model.onnx"), folder / "onnx" / "decoder_model_merged.onnx")
    clean(folder / "onnx" / "decoder_model_merged.onnx")
    return made


class Patches(nn.Module):
    """pixel_values [P,3*F*S*S], grid_thw [1,3] -> image_features [P/4,D]: one picture, all of whose patches see each
    other."""

    def __init__(self, vision: nn.Module):
        super().__init__()
        self.vision = vision

    def start(self, pixel_values, h, w):
        return self.vision.patch_embed(pixel_values)

    def forward(self, pixel_values, grid_thw):
        vision, m = self.vision, self.vision.spatial_merge_size
        h, w = grid_thw[0, 1], grid_thw[0, 2]
        rows = torch.arange(h)[:, None].expand(h, w)
        columns = torch.arange(w)[None, :].expand(h, w)
        at = [x.reshape(h // m, m, w // m, m).permute(0, 2, 1, 3).flatten() for x in (rows, columns)]
        angles = (torch.stack(at, -1).float()[:, :, None] * vision.rotary_pos_emb.inv_freq).flatten(1)
        angles = torch.cat((angles, angles), -1)
        states = self.start(pixel_values, h, w)
        for block in vision.blocks:
            a = block.attn
            q, k, v = a.qkv(block.norm1(states)).reshape(-1, 3, a.num_heads, a.head_dim).permute(1, 0, 2, 3).unbind(0)
            q, k = apply_rotary_pos_emb_vision(q, k, angles.cos(), angles.sin())
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
            weights = (q @ k.transpose(1, 2) * a.scaling).softmax(-1)
            states = states + a.proj((weights @ v).transpose(0, 1).reshape(-1, a.dim))
            states = states + block.mlp(block.norm2(states))
        return vision.merger(states)


class PlacedDecoder(nn.Module):
    """A decoder whose positions are [3,B,T]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.text, self.head, self.config = model.model.language_model, model.lm_head, model.config.text_config

    def forward(self, inputs_embeds, attention_mask, position_ids, *past):
        length = inputs_embeds.shape[1]
        out = self.text(inputs_embeds=inputs_embeds, attention_mask=causal.causal_mask(attention_mask, length),
                        position_ids=position_ids, past_key_values=(cache := causal.past_cache(past)), use_cache=True,
                        cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        return self.head(out.last_hidden_state), *causal.cache_tensors(cache)


def qwen2_vl(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tf.Qwen2TokenizerFast(tokenizer_object=chat_tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(t, normalized=False, special=True) for t in
        ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")]})
    token = tokenizer.convert_tokens_to_ids
    processor = tf.Qwen2VLProcessor(
        tf.Qwen2VLImageProcessor(min_pixels=16 * 16, max_pixels=56 * 56, patch_size=8), tokenizer,
        tf.Qwen2VLVideoProcessor(), chat_template=QWEN2VL)
    text = {k: v for k, v in llama(tokenizer).to_dict().items() if k not in ("model_type", "architectures", "head_dim")}
    config = tf.Qwen2VLConfig(
        text_config=text | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}, "num_hidden_layers": 2},
        vision_config={"depth": 2, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8, "hidden_size": 32,
                       "spatial_merge_size": 2, "temporal_patch_size": 2},
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"))
    model = tf.Qwen2VLForConditionalGeneration(config)
    core.randomise(model, seed, gain=1.5)
    patches = model.model.visual.patch_embed.proj.weight  # three-dimensional, which randomise takes for a norm's
    patches.data.copy_(torch.randn(patches.shape, generator=torch.Generator().manual_seed(seed)) / 384 ** 0.5)
    core.save_rounded(model, work / "checkpoint")
    model = tf.Qwen2VLForConditionalGeneration.from_pretrained(work / "checkpoint", attn_implementation="eager").eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    made = seeing(model, processor, core.make_images(work), SEEN,
                  [("<|vision_start|><|image_pad|><|vision_end|>a photo of", [0])])
    if not WRITE:
        return made
    configurations(folder, processor, model)

    def pictures(s):
        return {"pixel_values": torch.randn(s["rows"] * s["columns"] * 4, 3 * 2 * 8 * 8),
                "grid_thw": torch.tensor([[1, 2 * s["rows"], 2 * s["columns"]]])}

    layers, heads, dim = causal.cache_shape(model.config.text_config)
    past, present = (causal.cache_names(p, layers) for p in ("past_key_values", "present"))
    width, vocabulary = 32, len(tokenizer)
    axes = {"inputs_embeds": ["batch", "length", width], "attention_mask": ["batch", "total"],
            "position_ids": [3, "batch", "length"], "logits": ["batch", "length", model.config.text_config.vocab_size]}
    axes |= {n: ["batch", heads, "past", dim] for n in past} | {n: ["batch", heads, "total", dim] for n in present}

    def steps(s):
        return {"inputs_embeds": torch.randn(s["batch"], s["length"], width) * 0.1,
                "attention_mask": torch.ones(s["batch"], s["past"] + s["length"], dtype=torch.int64),
                "position_ids": torch.randint(0, 20, (3, s["batch"], s["length"]))} | {
            n: torch.randn(s["batch"], heads, s["past"], dim) for n in past}

    specs = {
        "vision_encoder": GraphSpec(Patches(model.model.visual), pictures, ["image_features"],
                                    {"pixel_values": ["patches", 384], "grid_thw": ["pictures", 3],
                                     "image_features": ["rows", width]},
                                    {"rows": 2, "columns": 3}, [{"rows": 1, "columns": 1}, {"rows": 4, "columns": 2}]),
        "decoder_model_merged": GraphSpec(PlacedDecoder(model), steps, ["logits", *present], axes,
                                          {"batch": 2, "length": 4, "past": 5},
                                          [{"batch": 1, "length": 7, "past": 0}, {"batch": 3, "length": 1, "past": 11}]),
        "embed_tokens": causal.embed_spec(model.get_input_embeddings(), vocabulary)}
    for name, spec in specs.items():
        export_graph(spec, folder / "onnx" / f"{name}.onnx")
        clean(folder / "onnx" / f"{name}.onnx")
    return made


FOLDERS = {
    "qwen2vl-transformersjs": qwen2_vl,
    "idefics3-transformersjs": idefics3,
    "llava-transformersjs": llava,
    "llama-optimum": lambda s, w, f: text(s, w, f, llama, optimum),
    # ONNX Runtime rotates heads of 16, 32 ... alone
    "llama-genai": lambda s, w, f: text(s, w, f, lambda t: llama(t, head_dim=16), genai),
}


def build(name: str, out: Path) -> None:
    folder = out / name
    golden = {}

    def attempt(seed: int) -> None:
        if WRITE:
            shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            golden.update(FOLDERS[name](seed, Path(tmp), folder))

    if WRITE:
        seed = core.search(attempt, 1)
    else:
        before = json.loads((folder / "golden.json").read_text())
        attempt(seed := before["seed"])
        if golden["rows"] != before["rows"]:
            raise SystemExit(f"{name}: other ids than the graphs were made with")
    about = {"script": f"python -m xpipe_export.golden.decoders --only {name}", "seed": seed,
             "versions": core.versions() | {"onnx": onnx.__version__}}
    (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False, indent=1) + "\n")
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.decoders")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", default=list(FOLDERS))
    parser.add_argument("--golden", action="store_true", help="golden.json alone")
    args = parser.parse_args()
    global WRITE
    WRITE = not args.golden
    torch.set_num_threads(1)
    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)
    tf.utils.logging.set_verbosity_error()
    for name in args.only:
        build(name, args.out)


if __name__ == "__main__":
    main()
