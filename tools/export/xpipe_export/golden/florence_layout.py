"""python -m xpipe_export.golden.florence_layout [--out DIR]: Florence-2 as transformers.js lays it
out, with what it should write and how transformers reads places out of answers.

A tiny seeded Florence2ForConditionalGeneration in four graphs: vision_encoder, embed_tokens,
encoder_model and decoder_model_merged, the last merged by optimum from one graph for the first step
and one for later steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import onnx
import torch
import transformers as tf
from optimum.onnx import merge_decoders
from torch import nn
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from ..families.causal import cache_tensors, past_cache
from ..graph import GraphSpec, export_graph
from . import core
from .blip_family import load_images
from .core import Golden
from .encdec_layouts import SMALL, save, shrink
from .florence_family import HEADS, LAYERS, PROMPTS, SIZE, WIDTH, bart, seeded

NAME = "florence2-transformersjs"

ANSWERS = [  # task, answer: what the post-processor makes of them is kept
    ("<CAPTION>", "<s>A cat on a mat.</s>"),
    ("<OD>", "</s><s>cat<loc_10><loc_20><loc_500><loc_999>red dog<loc_0><loc_1><loc_2><loc_3>"
             "<loc_4><loc_5><loc_6><loc_7></s>"),
    ("<DENSE_REGION_CAPTION>", "a small house<loc_100><loc_200><loc_300><loc_400><loc_1>"),
    ("<REGION_PROPOSAL>", "<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8></s>"),
    ("<OCR_WITH_REGION>", "STOP<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>"
                          "two words<loc_11><loc_12><loc_13><loc_14><loc_15><loc_16><loc_17><loc_18>"
                          "cut<loc_1><loc_2>"),
    ("<CAPTION_TO_PHRASE_GROUNDING>", "A cat<loc_1><loc_2><loc_3><loc_4><loc_9><loc_8><loc_999>"
                                      "<loc_999>a mat<loc_5><loc_6><loc_7><loc_8>and"),
    ("<REFERRING_EXPRESSION_SEGMENTATION>", "<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><sep>"
                                            "<loc_7><loc_8><loc_9><loc_10><loc_11></s>"),
    ("<REGION_TO_SEGMENTATION>", "<poly><loc_1><loc_2><loc_3><loc_4><loc_5><loc_6></poly><poly>"
                                 "<loc_7><loc_8><loc_9><loc_10></poly>"),
    ("<OPEN_VOCABULARY_DETECTION>", "a cat<loc_1><loc_2><loc_3><loc_4>"),
    ("<OPEN_VOCABULARY_DETECTION>", "a cat<poly><loc_1><loc_2><loc_3><loc_4><sep><loc_5><loc_6>"
                                    "<loc_7><loc_8></poly>"),
]


class Vision(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model.get_image_features(pixel_values)


class Encoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.encoder = model.model.language_model.encoder

    def forward(self, inputs_embeds, attention_mask):
        return self.encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask)[0]


class Decoder(nn.Module):
    """inputs_embeds, encoder_attention_mask, encoder_hidden_states -> logits and the cache, a
    layer's four tensors behind one another."""

    def __init__(self, model):
        super().__init__()
        self.decoder, self.lm_head = model.model.language_model.decoder, model.lm_head

    def run(self, embeds, mask, states, cache, length):
        out = self.decoder(
            inputs_embeds=embeds, encoder_hidden_states=states, encoder_attention_mask=mask,
            past_key_values=cache, use_cache=True,
            cache_position=torch.arange(embeds.shape[1]) + length)
        return self.lm_head(out[0])

    def forward(self, inputs_embeds, encoder_attention_mask, encoder_hidden_states):
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = self.run(inputs_embeds, encoder_attention_mask, encoder_hidden_states, cache, 0)
        made = []
        for own, other in zip(cache.self_attention_cache.layers, cache.cross_attention_cache.layers):
            made += [own.keys, own.values, other.keys, other.values]
        return logits, *made


class Later(Decoder):
    """The same with a cache and without the encoder's states, which it holds -> logits and the
    decoder's part of the cache; the other does not change."""

    def forward(self, inputs_embeds, encoder_attention_mask, *past):
        own = [past[i] for i in range(len(past)) if i % 4 < 2]
        other = [past[i] for i in range(len(past)) if i % 4 >= 2]
        cache = EncoderDecoderCache(past_cache(own), past_cache(other))
        cache.is_updated = {i: True for i in range(LAYERS)}
        # of the states only the presence is read
        logits = self.run(inputs_embeds, encoder_attention_mask, inputs_embeds, cache,
                          past[0].shape[2])
        return logits, *cache_tensors(cache.self_attention_cache)


def names(prefix: str, parts=("decoder", "encoder")) -> list[str]:
    return [f"{prefix}.{i}.{p}.{kv}" for i in range(LAYERS) for p in parts for kv in ("key", "value")]


AXES = {"pixel_values": ["batch_size", 3, SIZE, SIZE],
        "image_features": ["batch_size", "image_sequence_length", WIDTH],
        "input_ids": ["batch_size", "sequence_length"],
        "inputs_embeds": ["batch_size", "sequence_length", WIDTH],
        "attention_mask": ["batch_size", "sequence_length"],
        "encoder_attention_mask": ["batch_size", "encoder_sequence_length"],
        "encoder_hidden_states": ["batch_size", "encoder_sequence_length", WIDTH],
        "last_hidden_state": ["batch_size", "sequence_length", WIDTH]}


def graphs(model, folder: Path, vocabulary: int) -> None:
    """Write the graphs, each verified on other sizes than the traced ones."""
    dim = WIDTH // HEADS

    def write(name, module, make, outputs, sizes):
        axes = dict(AXES, logits=["batch_size", "sequence_length", vocabulary])
        for n in names("past_key_values") + names("present"):
            span = "encoder_sequence_length" if ".encoder." in n else "past_sequence_length"
            axes[n] = ["batch_size", HEADS, span, dim]
        for n in names("present", ["decoder"]):
            axes[n][2] = "past_sequence_length + sequence_length"
        export_graph(GraphSpec(module, make, outputs, axes, sizes[0], sizes[1:]),
                     folder / f"{name}.onnx")

    def ones(*shape):
        mask = torch.ones(*shape, dtype=torch.int64)
        mask[0, -1] = 0
        return mask

    batch = [{"b": 2, "t": 3, "s": 7, "p": 4}, {"b": 1, "t": 5, "s": 4, "p": 1},
             {"b": 3, "t": 1, "s": 9, "p": 6}]
    write("vision_encoder", Vision(model),
          lambda s: {"pixel_values": torch.randn(s["b"], 3, SIZE, SIZE)}, ["image_features"], batch)
    write("embed_tokens", model.get_input_embeddings(),
          lambda s: {"input_ids": torch.randint(0, vocabulary, (s["b"], s["t"]))},
          ["inputs_embeds"], batch)
    write("encoder_model", Encoder(model),
          lambda s: {"inputs_embeds": torch.randn(s["b"], s["s"], WIDTH),
                     "attention_mask": ones(s["b"], s["s"])}, ["last_hidden_state"], batch)

    def first(s):
        return {"inputs_embeds": torch.randn(s["b"], s["t"], WIDTH),
                "encoder_attention_mask": ones(s["b"], s["s"]),
                "encoder_hidden_states": torch.randn(s["b"], s["s"], WIDTH)}

    def later(s):
        past = {n: torch.randn(s["b"], HEADS, s["s"] if ".encoder." in n else s["p"], dim)
                for n in names("past_key_values")}
        fed = first(dict(s, t=1)) | past
        del fed["encoder_hidden_states"]
        return fed

    write("decoder_model", Decoder(model), first, ["logits", *names("present")], batch)
    write("decoder_with_past_model", Later(model), later,
          ["logits", *names("present", ["decoder"])], batch)


def build(out: Path, images: list[Path], first: int) -> None:
    work = Path(tempfile.mkdtemp())

    def attempt(seed: int) -> None:
        shutil.rmtree(work, ignore_errors=True)
        golden = Golden(work / "golden", "florence", seed)
        golden.data["script"] = "python -m xpipe_export.golden.florence_layout"
        checkpoint = work / "checkpoint"
        model, processor, tokenizer, count = seeded(seed, checkpoint, bart())
        pictures = load_images(images)
        fed = [processor(images=p, text=t, return_tensors="pt") for p, t in zip(pictures, PROMPTS)]

        def generate(rows, **parameters):
            (row,) = rows
            made = model.generate(**fed[row], **parameters)
            return made.sequences[:, 1:], made

        # the parameters that a text's length ends by are cases of their own
        model.generation_config.forced_eos_token_id = None
        core.generations(golden, generate, tokenizer.decode, batch=False)
        model.generation_config.forced_eos_token_id = 2
        plain = model.generate(**fed[0], max_new_tokens=core.NEW_TOKENS)
        golden.data["unprompted"] = plain[0, 1:].tolist()
        golden.data["rows"] = [
            {"image": images[i].name, "text": PROMPTS[i],
             "input_ids": fed[i].input_ids[0, count:].tolist()} for i in range(core.ROWS)]
        golden.data["answers"] = [
            {"task": t, "answer": a,
             "found": processor.post_process_generation(text=a, task=t, image_size=(640, 480))[t]}
            for t, a in ANSWERS]
        for part in ("arrays", "bundle"):
            del golden.data[part]

        export, folder = work / "export", work / "folder"
        export.mkdir()
        (folder / "onnx").mkdir(parents=True)
        graphs(model, export, len(tokenizer))
        for half in ("decoder_model", "decoder_with_past_model"):
            halved = onnx.load(export / f"{half}.onnx")
            keep = dict(rename_inputs=False, rename_outputs=False, rename_initializers=False)
            onnx.save(onnx.compose.add_prefix(halved, f"{half}/", **keep), export / f"{half}.onnx")
        merge_decoders(export / "decoder_model.onnx", export / "decoder_with_past_model.onnx",
                       strict=False, save_path=export / "decoder_model_merged.onnx")
        for g in ("vision_encoder", "embed_tokens", "encoder_model", "decoder_model_merged"):
            save(onnx.load(export / f"{g}.onnx"), folder / "onnx" / f"{g}.onnx")
        for file in SMALL[:4]:  # the others only repeat the tokenizer's thousand locations
            shutil.copyfile(checkpoint / file, folder / file)
        shrink(folder)
        (folder / "golden.json").write_text(json.dumps(golden.data, ensure_ascii=False,
                                                       default=core._plain) + "\n")

    core.search(attempt, first)
    target = out / NAME
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "folder", target)
    shutil.rmtree(work)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.florence_layout")
    parser.add_argument("--out", type=Path,
                        default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as tmp:
        build(args.out, core.make_images(Path(tmp)), 3)


if __name__ == "__main__":
    main()
