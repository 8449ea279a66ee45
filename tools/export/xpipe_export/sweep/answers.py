"""What transformers answers with a checkpoint: the verbs of xpipe, by the model's own code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import transformers as tf
from PIL import Image

from ..golden import clap_family
from .draw import FIVE

QUESTIONS = ["what color is the cat?", "how many trees are there, and where is the boat?"]
TEXTS = ["a photo of a red cat on the grass", "two boats", "the dog sleeps under the bridge!"]


def load(folder: Path):
    """The class that config.json names, in float32."""
    config = json.loads((folder / "config.json").read_text())
    named = config.get("architectures") or config["text_config"]["architectures"]
    model = getattr(tf, named[0]).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if named[0].startswith(("Idefics3", "SmolVLM")) and not FIVE:
        from ..families import idefics3

        idefics3.settle(model)  # bundles number the patches of tiles as 5 does, and as they were trained
    if named[0].startswith("Idefics2") and not FIVE:
        from ..families import idefics2

        idefics2.settle(model)  # likewise
    return model


class Front:
    """What stands before a model: tokenizers, an image processor of Pillow's kind, the processor where one
    is saved."""

    def __init__(self, folder: Path, model):
        self.tokenizer = tf.AutoTokenizer.from_pretrained(folder)
        if (folder / "qformer_tokenizer").is_dir():
            self.second = tf.AutoTokenizer.from_pretrained(folder / "qformer_tokenizer")
        kind = type(model).__name__
        if not kind.startswith(("Lxmert", "Whisper", "Clap")):
            self.images = images(folder)
        if getattr(WRITERS.get(kind), "__name__", "") == "by_template":
            self.whole = tf.AutoProcessor.from_pretrained(folder)
            self.whole.image_processor, self.whole.tokenizer = self.images, self.tokenizer


def images(folder: Path):
    return tf.AutoImageProcessor.from_pretrained(folder, **({"backend": "pil"} if FIVE else {"use_fast": False}))


def continued(model, given: dict, length: int = 0, **more) -> dict:
    """The new ids behind so many of the prompt, by generate as the checkpoint has it; how near the second
    best was at each."""
    with torch.no_grad():
        out = model.generate(**given, output_scores=True, return_dict_in_generate=True, **more)
    row = {"ids": out.sequences[0, length:].tolist()}
    if getattr(out, "sequences_scores", None) is not None:
        row["score"] = float(out.sequences_scores[0])
    else:
        row["gaps"] = [float(s[0].topk(2).values.diff().abs()) for s in out.scores]
    return row


def write(model, front: Front, picture: Image.Image, question: str | None) -> dict:
    """A caption (no question) or an answer."""
    return WRITERS[type(model).__name__](model, front, picture, question)


def blip(model, front, picture, question):
    given = dict(front.images(picture, return_tensors="pt"))
    if question is not None:
        given["input_ids"] = front.tokenizer(question, return_tensors="pt").input_ids
        given["attention_mask"] = torch.ones_like(given["input_ids"])
    return continued(model, given, 1)


def blip2(model, front, picture, question):
    given = {"pixel_values": front.images(picture, return_tensors="pt").pixel_values}
    instruct = type(model).__name__.startswith("Instruct")
    text = {True: "A short image description.", False: None}[instruct]
    if question is not None:
        text = question if instruct else f"Question: {question} Answer:"
    length = 0
    if text is not None:
        ids = front.tokenizer(text, return_tensors="pt").input_ids
        places = torch.full((1, model.config.num_query_tokens), model.config.image_token_index)
        given["input_ids"] = torch.cat([places, ids], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        if instruct:
            second = front.second(text, return_tensors="pt")
            given["qformer_input_ids"], given["qformer_attention_mask"] = second.input_ids, second.attention_mask
        length = given["input_ids"].shape[1]
    else:  # the placeholders and a BOS, which generate puts there
        length = model.config.num_query_tokens + 1
    return continued(model, given, 1 if model.language_model.config.is_encoder_decoder else length)


def encdec(model, front, picture, question):
    pixels = front.images(picture, return_tensors="pt").pixel_values
    if "donut" not in model.config.encoder.model_type:
        return continued(model, {"pixel_values": pixels}, 1)
    prompt = "<s_cord-v2>"
    if question is not None:
        prompt = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
    ids = front.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    return continued(model, {"pixel_values": pixels, "decoder_input_ids": ids}, ids.shape[1])


def florence(model, front, picture, question):
    pixels = front.images(picture, return_tensors="pt").pixel_values
    with torch.no_grad():
        made = model.get_image_features(pixels)
    made = getattr(made, "pooler_output", made)
    image = model.config.image_token_id
    text = "What does the image describe?" if question is None else question
    ids = torch.cat([torch.full((1, made.shape[-2]), image), front.tokenizer(text, return_tensors="pt").input_ids], 1)
    return continued(model, {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}, 1)


def chat(caption: str) -> Callable:
    """By the checkpoint's own processor and its template; caption is asked where there is no question."""
    def by_template(model, front, picture, question):
        processor = front.whole
        content = [{"type": "image"}, {"type": "text", "text": caption if question is None else question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        begins = front.tokenizer.bos_token and text.startswith(front.tokenizer.bos_token)
        bare = {"add_special_tokens": False} if begins else {}
        given = processor(text=text, images=[picture], return_tensors="pt", **bare)
        taken = inspect.signature(model.forward).parameters
        given = {k: v for k, v in given.items() if k in taken}
        return continued(model, given, given["input_ids"].shape[1])

    return by_template


def idefics(model, front, picture, question):
    mark = "<fake_token_around_image>"
    prompt = f"{mark}<image>{mark}" + ("An image of" if question is None else f"Question: {question} Answer:")
    ids = front.tokenizer(prompt, return_tensors="pt").input_ids
    pixels = front.images(picture)
    pixels = torch.as_tensor(np.asarray(getattr(pixels, "pixel_values", pixels))).float()
    seen = (ids == front.tokenizer.convert_tokens_to_ids("<image>")).cumsum(1)[:, :, None]
    return continued(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "image_attention_mask": seen,
                             "pixel_values": pixels.reshape(1, 1, *pixels.shape[-3:])}, ids.shape[1])


def paligemma(model, front, picture, question):
    text = "caption en" if question is None else f"answer en {question}"
    count = (model.config.vision_config.image_size // model.config.vision_config.patch_size) ** 2
    text = f"{'<image>' * count}{front.tokenizer.bos_token}{text}\n"
    ids = front.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids),
             "pixel_values": front.images(picture, return_tensors="pt").pixel_values}
    return continued(model, given, ids.shape[1])


def gemma3(model, front, picture, question):
    content = [{"type": "image"}, {"type": "text", "text": "Describe this image in detail." if question is None else question}]
    text = front.tokenizer.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
    count = model.config.mm_tokens_per_image
    rows = "\n\n<start_of_image>" + "<image_soft_token>" * count + "<end_of_image>\n\n"
    ids = front.tokenizer(text.replace("<start_of_image>", rows), add_special_tokens=False, return_tensors="pt").input_ids
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
             "token_type_ids": (ids == model.config.image_token_id).long(),
             "pixel_values": front.images(picture, return_tensors="pt").pixel_values}
    return continued(model, given, ids.shape[1])


def pix2struct(model, front, picture, question):
    return continued(model, dict(front.images(picture, return_tensors="pt")), 1)


def git(model, front, picture, question):
    ids = [front.tokenizer.cls_token_id, *front.tokenizer(question or "", add_special_tokens=False).input_ids]
    ids = torch.tensor([ids])
    return continued(model, {"pixel_values": front.images(picture, return_tensors="pt").pixel_values, "input_ids": ids,
                             "attention_mask": torch.ones_like(ids)}, ids.shape[1])


WRITERS = {
    "BlipForConditionalGeneration": blip, "BlipForQuestionAnswering": blip,
    "Blip2ForConditionalGeneration": blip2, "InstructBlipForConditionalGeneration": blip2,
    "VisionEncoderDecoderModel": encdec, "Florence2ForConditionalGeneration": florence,
    "LlavaForConditionalGeneration": chat("Describe the image."), "LlavaNextForConditionalGeneration": chat("Describe the image."),
    "Idefics3ForConditionalGeneration": chat("Describe the image."), "SmolVLMForConditionalGeneration": chat("Describe the image."),
    "Qwen2VLForConditionalGeneration": chat("Describe this image."), "Qwen2_5_VLForConditionalGeneration": chat("Describe this image."),
    "LlavaOnevisionForConditionalGeneration": chat("Describe the image."), "Idefics2ForConditionalGeneration": chat("Describe the image."),
    "Pix2StructForConditionalGeneration": pix2struct,
    "IdeficsForVisionText2Text": idefics, "MllamaForConditionalGeneration": chat("Describe the image."), "PaliGemmaForConditionalGeneration": paligemma,
    "Gemma3ForConditionalGeneration": gemma3, "GitForCausalLM": git,
}


def match(model, front: Front, picture: Image.Image, texts: list[str]) -> list[float]:
    """The probability of each text."""
    kind = type(model).__name__
    seen = front.images(picture, return_tensors="pt")
    pixels = seen.pixel_values
    with torch.no_grad():
        if kind == "Siglip2Model":  # texts are read in lower case, as they were in training
            given = front.tokenizer([t.lower() for t in texts], return_tensors="pt", padding="max_length", truncation=True, max_length=64)
            return model(input_ids=given.input_ids, **seen).logits_per_image[0].sigmoid().tolist()
        if kind in ("CLIPModel", "SiglipModel"):
            padding = "max_length" if kind == "SiglipModel" else True
            given = front.tokenizer(texts, return_tensors="pt", padding=padding, truncation=True)
            scores = model(input_ids=given.input_ids, pixel_values=pixels,
                           attention_mask=given.get("attention_mask") if kind == "CLIPModel" else None).logits_per_image[0]
            return (scores.softmax(-1) if kind == "CLIPModel" else scores.sigmoid()).tolist()
        out = []
        for text in texts:
            given = front.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            if kind == "Blip2ForImageTextRetrieval":
                scores = model(pixel_values=pixels, use_image_text_matching_head=True, **given).logits_per_image
            elif kind == "BlipForImageTextRetrieval":
                scores = model(pixel_values=pixels, use_itm_head=True, **given).itm_score
            else:
                made = front.images(picture, return_tensors="pt")
                got = model(**made, **given)
                if kind == "BridgeTowerForContrastiveLearning":
                    out.append(float((got.image_embeds @ got.text_embeds.T * model.logit_scale.exp())[0, 0]))
                    continue
                scores = got.logits
            out.append(float(scores.softmax(-1)[0, 1]))
        return torch.tensor(out).softmax(-1).tolist() if kind == "BridgeTowerForContrastiveLearning" else out


def match_sound(model, folder: Path, front: Front, file: Path, texts: list[str]) -> list[float]:
    """The probability of each text with a sound at the extractor's rate, by CLAP."""
    extractor = tf.ClapFeatureExtractor.from_pretrained(folder)
    heard = clap_family.heard(extractor, clap_family.read_wav(file))
    given = front.tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=model.config.text_config.max_position_embeddings - 2)
    with torch.no_grad():
        scores = model(input_ids=given.input_ids, attention_mask=given.attention_mask, input_features=heard["input_features"].float(),
                       is_longer=heard["is_longer"]).logits_per_audio[0]
    return scores.softmax(-1).tolist()


def regions(model, front: Front, file: Path, question: str) -> list[float]:
    """LXMERT's log-probabilities of its answers about a detector's regions."""
    made = np.load(file)
    boxes = made["boxes"] / np.array([made["image_w"], made["image_h"]] * 2, np.float32)
    given = front.tokenizer(question, return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=given.input_ids, attention_mask=given.attention_mask, visual_feats=torch.tensor(made["features"])[None],
                    visual_pos=torch.tensor(boxes.astype(np.float32))[None])
    return out.question_answering_score[0].log_softmax(-1).tolist()


def vilt(model, front: Front, picture: Image.Image, question: str) -> list[float]:
    """ViLT's log-probabilities of its answers."""
    with torch.no_grad():
        out = model(**front.images(picture, return_tensors="pt"), **front.tokenizer(question, return_tensors="pt"))
    return out.logits[0].log_softmax(-1).tolist()


PLAIN = ["--no-timestamps", "--temperature", "0", "--no-voice-check", "--no-condition", "--max-new-tokens", "20",
         *(f"--{name}-threshold=none" for name in ("compression-ratio", "logprob", "no-speech"))]
"""Flags of transcribe that ask for what one call of Whisper's generate does."""


def write_speech(folder: Path) -> None:
    """What is within one window of 30 seconds: two sounds of 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    for i, seconds in enumerate((2.5, 11.0)):
        t = np.arange(int(seconds * 16000)) / 16000
        tone = np.sin(2 * np.pi * ((250 + 400 * i) * t + 90 * np.sin(3 * t))) * (0.6 + 0.4 * np.sin(7 * t + i))
        clap_family.write_wav(folder / f"speech{i}.wav", (0.4 * tone + 0.05 * rng.normal(size=len(t))).clip(-1, 1), 16000)


def hearings(model) -> list[tuple[list[str], dict]]:
    """How transcribe is asked, and generate the same: a language that is heard or named, a translation, beams."""
    beams = model.generation_config.num_beams or 1
    flags = ["--num-beams", str(beams)] if beams > 1 else []
    if not model.generation_config.is_multilingual:
        return [(flags, {})]
    said = [([], {"task": "transcribe"}), (["--language", "fr"], {"language": "fr", "task": "transcribe"}),
            (["--language", "de", "--task", "translate"], {"language": "de", "task": "translate"})]
    return [(flags + more, asked) for more, asked in said]


def transcribe(model, folder: Path, file: Path, asked: dict) -> dict:
    """The ids of one window's text, without times."""
    extractor = tf.WhisperFeatureExtractor.from_pretrained(folder)
    given = extractor(clap_family.read_wav(file), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        made = model.generate(given.input_features, max_new_tokens=20, return_timestamps=False, **asked)
    return {"ids": [i for i in made[0].tolist() if i < model.generation_config.eos_token_id]}
