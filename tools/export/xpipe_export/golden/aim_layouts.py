"""python -m xpipe_export.golden.aim_layouts [--out DIR] [--only NAME ...]: further models that see, as
transformers.js lays them out, with the 20 ids that PyTorch's generate gives.

Tiny seeded models of the real classes of transformers; seeing_layouts.py has the first of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort
import torch
import transformers as tf
from tokenizers import AddedToken
from torch import nn

from ..families import causal
from ..graph import GraphSpec
from . import core, decoders, tokens
from .decoders import configurations, llama, say
from .seeing_layouts import Rows, SHAPES, SIGLIP, features_spec, finished, picture, text_spec, whole, write_graphs

NEW = 20
decoders.NEW = NEW

ASK = [([say("user", None, "what is this?")], [name]) for name in SHAPES[:3]]
SEVERAL = ([say("user", None, "a photo"), say("assistant", "of a house"), say("user", None, "and this?")],
           ["figure1.png", "figure0.png"])
BLIND = ([say("user", "how many birds are there?")], [])


def qwen_tokenizer(extra: list[str] = ()):
    tokenizer = tf.Qwen2TokenizerFast(tokenizer_object=decoders.chat_tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(t, normalized=False, special=True) for t in ("<|im_start|>", "<|im_end|>", *extra)]})
    return tokenizer


class Stretched(decoders.Patches):
    """Qwen3-VL's encoder: a table of positions for a square is stretched over the picture (fast_pos_embed_interpolate)."""

    def start(self, pixel_values, h, w):
        vision, m = self.vision, self.vision.spatial_merge_size
        side = vision.num_grid_per_side

        def along(n):
            at = torch.arange(n).float() * (side - 1) / (n - 1)
            low = at.long()
            return low, (low + 1).clamp(max=side - 1), at - low

        top, bottom, down = along(h)
        left, right, over = along(w)
        table, stretched = vision.pos_embed.weight, 0
        for rows, weight_r in ((top, 1 - down), (bottom, down)):
            for columns, weight_c in ((left, 1 - over), (right, over)):
                stretched = stretched + table[rows[:, None] * side + columns[None]] * (weight_r[:, None] * weight_c[None])[..., None]
        merged = stretched.reshape(h // m, m, w // m, m, -1).permute(0, 2, 1, 3, 4).flatten(0, 3)
        return vision.patch_embed(pixel_values) + merged


QWEN3VL = ("{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% if message.content is string %}"
           "{{ message.content }}{% else %}{% for content in message.content %}{% if content.type == 'image' or 'image' in content %}"
           "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content.text }}{% endif %}{% endfor %}{% endif %}"
           "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def qwen3vl(seed: int, work: Path, folder: Path) -> dict:
    """Without DeepStack, which adds what the encoder's layers saw to the decoder's: the graphs of transformers.js and of
    onnxruntime-genai hand image_features alone from one to the other."""
    tokenizer = qwen_tokenizer(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"])
    token = tokenizer.convert_tokens_to_ids
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 8}
    processor = tf.Qwen3VLProcessor(tf.Qwen2VLImageProcessor(min_pixels=16 * 16, max_pixels=72 * 72, **half), tokenizer,
                                    tf.Qwen3VLVideoProcessor(), chat_template=QWEN3VL)
    text = dict(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=8, max_position_embeddings=512, tie_word_embeddings=False,
                rope_scaling={"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True})
    config = tf.Qwen3VLConfig(
        text_config=text, tie_word_embeddings=False,
        vision_config=dict(depth=2, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=8, out_hidden_size=32,
                           spatial_merge_size=2, temporal_patch_size=2, num_position_embeddings=25, deepstack_visual_indexes=[]),
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"))
    model = finished(seed, work, tf.Qwen3VLForConditionalGeneration(config))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    rows = Rows(model, processor, core.make_images(work))
    rows.talk([*ASK, SEVERAL, BLIND])
    rows.check()
    configurations(folder, processor, model)
    plain = text_spec(model, causal.causal_mask)

    def make(s):
        return plain.make(s) | {"position_ids": torch.randint(0, 20, (3, s["batch"], s["length"]))}

    def pictures(s):
        return {"pixel_values": torch.randn(s["rows"] * s["columns"] * 4, 3 * 2 * 8 * 8),
                "image_grid_thw": torch.tensor([[1, 2 * s["rows"], 2 * s["columns"]]])}

    decoder = GraphSpec(decoders.PlacedDecoder(model), make, plain.outputs, plain.axes | {"position_ids": [3, "batch", "length"]},
                        plain.trace, plain.checks)
    vision = GraphSpec(Stretched(model.model.visual), pictures, ["image_features"],
                       {"pixel_values": ["patches", 384], "image_grid_thw": ["pictures", 3], "image_features": ["rows", 32]},
                       {"rows": 2, "columns": 3}, [{"rows": 1, "columns": 1}, {"rows": 4, "columns": 2}])
    write_graphs(folder, model, vision, decoder)
    return {"rows": rows.rows}


class ByGraphs(Rows):
    """Rows of models of which the graphs are a part: encode(given) gives a picture's rows, which the processor does not
    count itself."""

    def __init__(self, model, processor, images: list[Path], encode, token: str = "<image>"):
        super().__init__(model, processor, images)
        self.encode, self.token = encode, token

    def inputs(self, text, pictures) -> dict:
        seen = [self.pixels(text, p) for p in pictures]
        with torch.no_grad():
            self.features = [self.encode(**{k: torch.from_numpy(v) for k, v in s.items()}).flatten(0, -2) for s in seen]
        for rows in self.features:
            text = text.replace(self.token, "\0" * len(rows), 1)
        return dict(self.processor.tokenizer(text.replace("\0", self.token), return_tensors="pt"))

    def generate(self, ids: list[int], extra: dict) -> tuple[list[int], float]:
        token = self.processor.tokenizer.convert_tokens_to_ids(self.token)
        table = self.model.get_input_embeddings()
        with torch.no_grad():
            embeds = table(torch.tensor([ids]))
            if self.features:
                embeds[0, torch.tensor(ids) == token] = torch.cat(self.features)
            out = self.model.generate(inputs_embeds=embeds, attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
                                      do_sample=False, max_new_tokens=NEW, output_scores=True, return_dict_in_generate=True)
        best = torch.cat(out.scores).topk(2).values
        end = self.model.generation_config.eos_token_id
        return [i for i in out.sequences[0].tolist() if i != end], float((best[:, 0] - best[:, 1]).min())


class View(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D] of LLaVA-OneVision: one view of each picture."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tower, self.project, self.layer = model.vision_tower, model.multi_modal_projector, model.config.vision_feature_layer

    def forward(self, pixel_values):
        return self.project(self.tower(pixel_values, output_hidden_states=True).hidden_states[self.layer])


ONEVISION = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}{# Render all images first #}{% for content in "
             "message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}{# Render all text next #}"
             "{% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
             "{{ '\n' + content['text'] }}{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', "
             "'text') %}{% generation %}{{ '\n' + content['text'] }}{% endgeneration %}{% endfor %}{% endif %}{{'<|im_end|>'}}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def onevision(seed: int, work: Path, folder: Path) -> dict:
    """One view of each picture, as the graphs in llava-hf's repositories have it: the tower and the projector, without
    image_newline, which no graph has."""
    tokenizer = qwen_tokenizer(["<image>", "<video>"])
    token = tokenizer.convert_tokens_to_ids
    text = tf.Qwen2Config(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, eos_token_id=token("<|im_end|>"))
    config = tf.LlavaOnevisionConfig(
        text_config=text.to_dict(), vision_config=dict(SIGLIP, model_type="siglip_vision_model", vision_use_head=False),
        image_token_index=token("<image>"), video_token_index=token("<video>"), tie_word_embeddings=False,
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]])
    model = finished(seed, work, tf.LlavaOnevisionForConditionalGeneration(config))
    pixels = tf.LlavaOnevisionImageProcessor(size={"height": 32, "width": 32}, image_grid_pinpoints=config.image_grid_pinpoints)
    processor = tf.LlavaOnevisionProcessor(pixels, tokenizer, tf.LlavaOnevisionVideoProcessor(size={"height": 32, "width": 32}),
                                           num_image_tokens=16, vision_feature_select_strategy="full", chat_template=ONEVISION)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    view = View(model.model)

    class Views(ByGraphs):
        def pixels(self, text, alone):  # the first of several is the whole picture
            return {"pixel_values": self.processor.image_processor([alone], return_tensors="np").pixel_values[0][:1]}

    rows = Views(model, processor, core.make_images(work), view)
    rows.talk([*ASK, SEVERAL, BLIND])
    rows.check()
    configurations(folder, processor, model)
    write_graphs(folder, model, features_spec(view, 16), text_spec(model, causal.causal_mask))
    return {"rows": rows.rows}


FOLDERS = {"qwen3vl-transformersjs": qwen3vl, "onevision-transformersjs": onevision}


def build(name: str, out: Path) -> None:
    folder = out / name
    golden = {}

    def attempt(seed: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            golden.update(FOLDERS[name](seed, Path(tmp), folder))

    seed = core.search(attempt, 1)
    for row in golden["rows"]:
        row.pop("text", None) if len(row["text"]) > 400 else None
    about = {"script": f"python -m xpipe_export.golden.aim_layouts --only {name}", "seed": seed, "new": NEW,
             "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__}}
    (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False) + "\n")
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.aim_layouts")
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
