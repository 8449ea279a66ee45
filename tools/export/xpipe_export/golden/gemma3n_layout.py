"""python -m xpipe_export.golden.gemma3n_layout [--out DIR]: Gemma 3n, which sees and hears, as
transformers.js lays it out, with the ids that PyTorch's generate gives.

A tiny seeded model of the real classes, the vision tower timm's MobileNetV5 with fewer and narrower
blocks (pip install --no-deps timm==1.0.31 beside the exporter's environment).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import timm
import torch
import transformers as tf
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.mobilenetv5 import MobileNetV5MultiScaleFusionAdapter
from torch import nn
from transformers.models.gemma3n import modeling_gemma3n as code

from ..families import causal
from ..graph import GraphSpec, export_graph
from . import core, decoders, tokens
from .decoders import clean, say
from .encdec_layouts import variant
from .seeing_layouts import VARIANTS, Graphs, Rows, store, text_spec

NEW = decoders.NEW
SIDE, PATCHES, AUDIO_TOKENS, WINDOW = 64, 4, 12, 512
TESTDATA = Path(__file__).resolve().parents[4] / "testdata"
SOUND = TESTDATA / "audio" / "16.wav"

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else "
    "message['role']) + '\n' }}{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'audio' %}{{ '<audio_soft_token>' }}"
    "{% elif item['type'] == 'image' %}{{ '<image_soft_token>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}"
    "{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")

# Stages as those of mobilenetv5_300m_enc, a block of each kind.
BLOCKS = [["er_r1_k3_s2_e2_c8"], ["uir_r1_a3_k5_s2_e2_c8"], ["uir_r1_a5_k5_s2_e2_c16", "mqa_r1_k3_h2_v2_s1_d8_c16", "uir_r1_a0_k0_s1_e2_c16"],
          ["uir_r1_a5_k5_s2_e2_c16", "mqa_r1_k3_h2_s1_d8_c16", "uir_r1_a0_k0_s1_e2_c16"]]


def heard(name: str) -> np.ndarray:
    """16.wav@FROM-TO: samples of the file, played over and over."""
    _, _, stretch = name.partition("@")
    first, last = map(int, stretch.split("-"))
    with wave.open(str(SOUND)) as file:
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.tile(values.astype(np.float32), -(-last // len(values)))[first:last] / 32768


def narrow_tower():
    """create_model with fewer blocks, for the class that makes the vision tower."""
    real = timm.create_model

    def make(name, **kwargs):
        tower = real(name, block_args=decode_arch_def(BLOCKS), stem_size=8, **kwargs)
        tower.msfa = MobileNetV5MultiScaleFusionAdapter(
            tower.msfa_in_chs, 32, 2, norm_layer=type(tower.msfa.norm), act_layer=nn.GELU)
        return tower

    timm.create_model = make
    return lambda: setattr(timm, "create_model", real)


class Vision(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D]"""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        m = self.model
        states = m.vision_tower(pixel_values=pixel_values, do_pooling=False, return_dict=True).last_hidden_state
        states = states.flatten(2).transpose(1, 2)
        return m.embed_vision(inputs_embeds=states * m.config.vision_config.hidden_size ** 0.5)


class Hearing(nn.Module):
    """input_features [N,T,mels], input_features_mask bool [N,T] -> audio_features [N,L,D] of a fixed length: what is
    missing are rows of the last hard token."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_features, input_features_mask):
        m, count = self.model, self.model.config.audio_soft_tokens_per_image
        states, mask = m.get_audio_features(input_features, ~input_features_mask)
        pad = m.embed_audio(input_ids=torch.tensor([[m.vocab_size - 1]]))
        states = torch.where(mask.unsqueeze(-1), pad, states)
        return torch.cat([states, pad.expand(states.shape[0], count, -1)], 1)[:, :count]


class Embeddings(nn.Module):
    """input_ids [B,T] -> inputs_embeds [B,T,D] and per_layer_inputs [B,T,layers,P], as Gemma3nModel.forward begins."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        m = self.model
        embeds = m.get_input_embeddings()(input_ids)
        own = (input_ids >= 0) & (input_ids < m.vocab_size_per_layer_input)
        each = m.language_model.get_per_layer_inputs(torch.where(own, input_ids, 0))
        vision, audio = m.embed_vision, m.embed_audio
        for part, mask in ((vision, (input_ids >= vision.vocab_offset) & (input_ids < audio.vocab_offset)),
                           (audio, input_ids >= audio.vocab_offset)):
            hard = part(input_ids=torch.where(mask, input_ids, part.vocab_offset + part.vocab_size - 1))
            embeds = torch.where(mask.unsqueeze(-1), hard, embeds)
        return embeds, each


class Decoder(nn.Module):
    """The language model with a cache of the layers that have keys and values of their own."""

    def __init__(self, model):
        super().__init__()
        self.text, self.head, self.config = model.model.language_model, model.lm_head, model.config.text_config

    def forward(self, inputs_embeds, per_layer_inputs, attention_mask, position_ids, *past):
        length = inputs_embeds.shape[1]
        cache = causal.past_cache(past)
        masks = {"full_attention": causal.causal_mask(attention_mask, length),
                 "sliding_attention": causal.causal_mask(attention_mask, length, self.config.sliding_window)}
        out = self.text(inputs_embeds=inputs_embeds, per_layer_inputs=per_layer_inputs, attention_mask=masks,
                        position_ids=position_ids, past_key_values=cache, use_cache=True,
                        cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        logits = self.head(out.last_hidden_state)
        cap = self.config.final_logit_softcapping
        return torch.tanh(logits / cap) * cap, *causal.cache_tensors(cache)


def traceable() -> None:
    """Replace what cannot be traced, or freezes a length: sizes that Python asks for, and the inverse of erf."""
    def blocks(self, x):
        count = (x.shape[1] + self.chunk_size - 1) // self.chunk_size
        padded = self._pad_dim1(x, 0, self.chunk_size - 1)[:, :count * self.chunk_size]
        return padded.reshape(x.shape[0], count, self.chunk_size, *x.shape[2:])

    def context(self, x):
        count = (x.shape[1] + self.chunk_size - 1) // self.chunk_size
        kind = x.dtype
        padded = self._pad_dim1(x.float(), self.max_past_horizon, self.max_future_horizon + self.chunk_size - 1)
        at = (torch.arange(count) * self.chunk_size)[:, None] + torch.arange(self.context_size)[None]
        return padded[:, at].to(kind)

    def topk(self, x):
        keep = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * self.activation_sparsity - 1, dtype=torch.float64)))
        mean = x.mean(-1, keepdim=True)
        deviation = ((x - mean) ** 2).mean(-1, keepdim=True).sqrt()
        return nn.functional.relu(x - (mean + deviation * keep))

    def fused(self, inputs):
        side, wanted = int(inputs[0].shape[-1]), self.output_resolution[0]
        same = [nn.functional.interpolate(x, size=(side, side), mode=self.interpolation_mode) for x in inputs]
        return self.norm(nn.functional.avg_pool2d(self.ffn(torch.cat(same, 1)), side // wanted))

    MobileNetV5MultiScaleFusionAdapter.forward = fused
    code.Gemma3nAudioAttention._convert_to_block = blocks
    code.Gemma3nAudioAttention._extract_block_context = context
    code.Gemma3nTextMLP._gaussian_topk = topk


class Both(Rows):
    """Prompts with pictures and sounds."""

    def add(self, text: str, which: list[str], sounds: list[str] = (), **row) -> None:
        self.heard = [heard(n) for n in sounds]
        super().add(text, which, **row)
        self.rows[-1]["sounds"] = list(sounds)
        self.given[-1] += [self.features([s]) for s in self.heard]
        if len(sounds) == 1:
            features = self.features(self.heard)["input_features"]
            every = max(features.size // 97, 1)
            self.rows[-1]["features"] = {"shape": list(features.shape), "every": every,
                                         "values": [round(float(v), 5) for v in features.reshape(-1)[::every]]}

    def features(self, sounds) -> dict:
        return {k: np.stack(v) for k, v in self.processor.feature_extractor(sounds).items()}

    def inputs(self, text, pictures) -> dict:
        made = dict(self.processor(text=[text], images=pictures or None, audio=self.heard or None, return_tensors="pt",
                                   add_special_tokens=False))
        made.pop("token_type_ids")
        return made

    def pixels(self, text, alone) -> dict:
        return {"pixel_values": self.processor.image_processor([alone], return_tensors="np").pixel_values}

    def talk(self, chats: list) -> None:
        for chat, which, sounds in chats:
            text = self.processor.apply_chat_template(chat, add_generation_prompt=True)
            self.add(text, which, sounds, messages=chat)

    def store(self, folder, kind):
        """float16 by the types of all values: Max and CumSum, which the converter leaves in float32, need casts."""
        if "16" not in kind:
            return store(folder, kind)
        for name in ("vision_encoder", "audio_encoder", "embed_tokens", "decoder_model_merged"):
            target = folder / "onnx" / f"{name}_{kind}.onnx"
            if kind == "q4f16":
                variant("q4", target.with_name(f"{name}_fp16.onnx"), target)
                continue
            model = onnx.load(folder / "onnx" / f"{name}.onnx")
            for i, node in enumerate(model.graph.node):  # by which the converter names its casts
                node.name = f"n{i}"
            shown = [v.name for v in (*model.graph.input, *model.graph.output)]
            keep = [n for n in shown if not n.startswith(("past_key_values", "present"))]
            half = OnnxModel(convert_float_to_float16(model, keep_io_types=keep))
            half.topological_sort()
            del half.model.graph.value_info[:]
            onnx.save(half.model, target)
            clean(target)

    def graphs(self, folder, suffix, token, first):
        return AllGraphs(folder, suffix, token, self.processor.tokenizer.audio_token_id)

    def generate(self, ids, extra):
        if "input_features" in extra:
            for name in ("input_features", "input_features_mask"):
                extra[name] = torch.as_tensor(np.stack(extra[name])) if not isinstance(extra[name], torch.Tensor) else extra[name]
        return super().generate(ids, extra)


class AllGraphs(Graphs):
    """The four graphs on ONNX Runtime."""

    def __init__(self, folder: Path, suffix: str, image: int, audio: int):
        super().__init__(folder, suffix, image)
        self.audio_token, self.audio = audio, self.session(folder / "onnx" / f"audio_encoder{suffix}.onnx")

    def greedy(self, ids, given, ends, places=None):
        def embed(row):
            made = self.embed.run(["inputs_embeds", "per_layer_inputs"], {"input_ids": np.array([row])})
            return made[0].astype(np.float32), made[1]

        embeds, each = embed(ids)
        for token, session, mine in ((self.token, self.vision, "pixel_values"), (self.audio_token, self.audio, "input_features")):
            made = [session.run(None, self.feed(session, g))[0] for g in given if mine in g]
            if made:
                embeds[0, np.array(ids) == token] = np.concatenate([m.reshape(-1, m.shape[-1]) for m in made])
        past = {i.name: np.zeros([d if isinstance(d, int) else 1 if k == 0 else 0 for k, d in enumerate(i.shape)],
                                 np.float16 if "16" in i.type else np.float32)
                for i in self.decoder.get_inputs() if i.name.startswith("past")}
        names, new, gaps, at = [o.name for o in self.decoder.get_outputs()], [], [], 0
        for _ in range(NEW):
            length = embeds.shape[1]
            at += length
            out = dict(zip(names, self.decoder.run(None, self.feed(self.decoder, past | {
                "inputs_embeds": embeds, "per_layer_inputs": each, "attention_mask": np.ones((1, at)),
                "position_ids": np.arange(at - length, at)[None]}))))
            past = {n: out[n.replace("past_key_values", "present")] for n in past}
            last = out["logits"][0, -1].astype(np.float64)
            gaps.append(np.diff(np.sort(last)[-2:])[0])
            new.append(int(last.argmax()))
            if new[-1] in ends:
                return new[:-1], gaps
            embeds, each = embed(new[-1:])
        return new, gaps


def tokenizer_of() -> tuple:
    """Text tokens first, then those of pictures, then those of sounds, as the vocabulary of the checkpoints goes."""
    tokenizer = tokens.llama(extra=["<start_of_image>", "<start_of_audio>", "<start_of_turn>", "<end_of_turn>",
                                    "<end_of_image>", "<image_soft_token>", "<end_of_audio>", "<audio_soft_token>"])
    for name, word in (("boi_token", "<start_of_image>"), ("image_token", "<image_soft_token>"), ("eoi_token", "<end_of_image>"),
                       ("boa_token", "<start_of_audio>"), ("audio_token", "<audio_soft_token>"), ("eoa_token", "<end_of_audio>")):
        setattr(tokenizer, name, word)
        tokenizer.init_kwargs[name] = word
    token = tokenizer.convert_tokens_to_ids
    tokenizer.image_token_id, tokenizer.audio_token_id = token("<image_soft_token>"), token("<audio_soft_token>")
    return tokenizer, token


def model_of(seed: int, work: Path, tokenizer, token):
    vision, audio = token("<end_of_image>"), token("<end_of_audio>")
    vocabulary = -(-(audio + 2) // 64) * 64
    text = dict(vocab_size=vocabulary, vocab_size_per_layer_input=vision, hidden_size=32, hidden_size_per_layer_input=8,
                intermediate_size=64, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                max_position_embeddings=512, sliding_window=WINDOW, num_kv_shared_layers=2, altup_num_inputs=2, laurel_rank=8,
                layer_types=["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"],
                activation_sparsity_pattern=[0.5, 0.0, 0.0, 0.0, 0.0], pad_token_id=0, bos_token_id=1, eos_token_id=2,
                tie_word_embeddings=False)
    config = tf.Gemma3nConfig(
        text_config=text, vision_config=dict(hidden_size=32, vocab_size=audio - vision, vocab_offset=vision),
        audio_config=dict(vocab_size=vocabulary - audio, vocab_offset=audio, input_feat_size=128, hidden_size=32,
                          conf_attention_chunk_size=4, conf_attention_context_left=5, conf_num_attention_heads=2,
                          conf_num_hidden_layers=1, sscp_conv_channel_size=(4, 4)),
        audio_soft_tokens_per_image=AUDIO_TOKENS, vision_soft_tokens_per_image=PATCHES, boi_token_id=token("<start_of_image>"),
        eoi_token_id=vision, image_token_id=token("<image_soft_token>"), boa_token_id=token("<start_of_audio>"), eoa_token_id=audio,
        audio_token_id=token("<audio_soft_token>"), tie_word_embeddings=False)
    undo = narrow_tower()
    try:
        model = tf.Gemma3nForConditionalGeneration(config)
        core.randomise(model, seed, gain=1.5)
        with torch.no_grad():  # few near ties
            model.lm_head.weight.mul_(4)
        core.save_rounded(model, work / "checkpoint")
        model = tf.Gemma3nForConditionalGeneration.from_pretrained(work / "checkpoint", attn_implementation="eager").eval()
    finally:
        undo()
    model.generation_config.eos_token_id = token("<end_of_turn>")
    return model


def write(folder: Path, model) -> None:
    inner, config = model.model, model.config.text_config
    own = config.num_hidden_layers - config.num_kv_shared_layers
    plain = text_spec(model, None)
    kept = {n: a for n, a in plain.axes.items() if not n.startswith(("past", "present")) or int(n.split(".")[1]) < own}
    each = ["batch", "length", config.num_hidden_layers, config.hidden_size_per_layer_input]

    def step(s):
        made = {n: v for n, v in plain.make(s).items() if n in kept}
        made["position_ids"] = made["position_ids"] - 1
        given = {"inputs_embeds": made.pop("inputs_embeds"),
                 "per_layer_inputs": torch.randn(s["batch"], s["length"], *each[2:])}
        return given | made

    def ids(s):
        return {"input_ids": torch.randint(0, config.vocab_size, (s["batch"], s["length"]))}

    def sounds(s):
        mask = torch.ones(s["sounds"], s["frames"], dtype=torch.bool)
        mask[-1, s["frames"] * 2 // 3:] = False
        return {"input_features": torch.randn(s["sounds"], s["frames"], 128), "input_features_mask": mask}

    sizes = {"batch": 2, "length": 5}
    specs = {
        "vision_encoder": GraphSpec(
            Vision(inner), lambda s: {"pixel_values": torch.rand(s["images"], 3, SIDE, SIDE)}, ["image_features"],
            {"pixel_values": ["images", 3, SIDE, SIDE], "image_features": ["images", PATCHES, 32]}, {"images": 2},
            [{"images": 1}, {"images": 3}]),
        "audio_encoder": GraphSpec(
            Hearing(inner), sounds, ["audio_features"],
            {"input_features": ["sounds", "frames", 128], "input_features_mask": ["sounds", "frames"],
             "audio_features": ["sounds", AUDIO_TOKENS, 32]}, {"sounds": 2, "frames": 59},
            [{"sounds": 1, "frames": 7}, {"sounds": 1, "frames": 131}, {"sounds": 3, "frames": 64}]),
        "embed_tokens": GraphSpec(
            Embeddings(inner), ids, ["inputs_embeds", "per_layer_inputs"],
            {"input_ids": ["batch", "length"], "inputs_embeds": ["batch", "length", 32], "per_layer_inputs": each}, sizes,
            [{"batch": 1, "length": 7}, {"batch": 3, "length": 1}]),
        "decoder_model_merged": GraphSpec(
            Decoder(model), step, [n for n in plain.outputs if n in kept], kept | {"per_layer_inputs": each}, plain.trace, plain.checks),
    }
    for name, spec in specs.items():
        export_graph(spec, folder / "onnx" / f"{name}.onnx")
        clean(folder / "onnx" / f"{name}.onnx")
        without_casts(folder / "onnx" / f"{name}.onnx")


def without_casts(path: Path) -> None:
    """Drop casts of float32 to itself, which converters to float16 would leave behind."""
    model = onnx.load(path)
    typed = onnx.shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*typed.input, *typed.value_info)} | {i.name: i.data_type for i in typed.initializer}
    outputs = {o.name for o in model.graph.output}
    idle = {n.output[0]: n.input[0] for n in model.graph.node
            if n.op_type == "Cast" and n.attribute[0].i == kinds.get(n.input[0]) == onnx.TensorProto.FLOAT and n.output[0] not in outputs}
    kept = [n for n in model.graph.node if n.output[0] not in idle]
    for node in kept:
        for i, name in enumerate(node.input):
            while name in idle:
                name = idle[name]
            node.input[i] = name
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, path)


def configure(folder: Path, processor, model) -> None:
    """The files beside the graphs: one preprocessor_config.json for both senses, as the checkpoints have it."""
    decoders.configurations(folder, processor, model)
    pixels, sounds = (json.loads(p.to_json_string()) for p in (processor.image_processor, processor.feature_extractor))
    pixels["image_processor_type"] = "SiglipImageProcessorFast"
    for key in ("mel_floor", "frame_length", "hop_length", "fft_length"):
        assert key in sounds
    (folder / "preprocessor_config.json").write_text(json.dumps(sounds | pixels | {"processor_class": "Gemma3nProcessor"}, indent=1) + "\n")


def gemma3n(seed: int, work: Path, folder: Path) -> dict:
    tokenizer, token = tokenizer_of()
    model = model_of(seed, work, tokenizer, token)
    processor = tf.Gemma3nProcessor(
        tf.Gemma3nAudioFeatureExtractor(), tf.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}, do_normalize=False),
        tokenizer, chat_template=TEMPLATE, audio_seq_length=AUDIO_TOKENS, image_seq_length=PATCHES)
    rows = Both(model, processor, core.make_images(work))
    ask = lambda *kinds: [{"role": "user", "content": [{"type": k} if k in ("image", "audio") else {"type": "text", "text": k} for k in kinds]}]
    sounds = [f"16.wav@{a}-{b}" for a, b in ((0, 16000), (9000, 17123), (2000, 3400))]
    rows.talk([
        (ask("image", "what is this?"), ["figure0.png"], []), (ask("image", "what is this?"), ["figure2.png"], []),
        (ask("audio", "what is said?"), [], sounds[:1]), (ask("audio", "what is said?"), [], sounds[1:2]),
        (ask("audio", "what is said?"), [], sounds[2:]),
        (ask("image", "audio", "is it said what is seen?"), ["figure1.png"], sounds[:1]),
        (ask("audio", "what is said?") + [say("assistant", "a house")] + ask("image", "audio", "and this?"), ["figure0.png"],
         [sounds[0], "16.wav@3000-19000"]),  # of one length: the class pads to the longest, which changes the others' last rows
        (ask("how many birds are there?"), [], []),
    ])
    rows.check()
    configure(folder, processor, model)
    write(folder, model)
    return {"rows": rows.rows, "variants": rows.of_variants(folder, VARIANTS, token("<image_soft_token>"))}


def build(out: Path) -> None:
    folder, golden = out / "gemma3n-transformersjs", {}

    def attempt(seed: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            golden.update(gemma3n(seed, Path(tmp), folder))

    seed = core.search(attempt, 3)
    about = {"script": "python -m xpipe_export.golden.gemma3n_layout", "seed": seed,
             "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__, "timm": timm.__version__}}
    (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False) + "\n")
    print(folder.name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.gemma3n_layout")
    parser.add_argument("--out", type=Path, default=TESTDATA / "layouts")
    torch.set_num_threads(1)
    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)
    logging.getLogger("root").setLevel(logging.ERROR)
    tf.utils.logging.set_verbosity_error()
    traceable()
    build(parser.parse_args().out)


if __name__ == "__main__":
    main()
