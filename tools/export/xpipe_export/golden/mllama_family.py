"""Golden files of Mllama (Llama 3.2 Vision)."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf
from tokenizers import AddedToken, processors
from transformers import PreTrainedTokenizerFast

from . import core, tokens
from .blip_family import load_images
from .core import Golden, randomise

TILE = 16
IMAGE, BEGIN = "<|image|>", "<|begin_of_text|>"
# Each prompt: texts and images (by number) in order. Tokens before a picture, two pictures at once.
PROMPTS = [[0, BEGIN, "If I had to write"], ["Look: ", 1, 2, "two trees near the water"], [2, "a red ball.", 0, "the dog"]]
TEXT = "Question: what color is the boat? Answer:"
CHAT = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is on the grass?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "and here?"}]}]
TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}{%- else %}"
    "{%- for content in message['content'] %}{%- if content['type'] == 'image' %}{{- '<|image|>' }}"
    "{%- elif content['type'] == 'text' %}{{- content['text'] }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}")


def tokenizer() -> PreTrainedTokenizerFast:
    """Llama 3's kind: byte-level, special tokens behind the vocabulary, the picture's last of all."""
    tok = tokens.byte_level([])
    tok.post_processor = processors.ByteLevel(trim_offsets=True)
    out = PreTrainedTokenizerFast(tokenizer_object=tok, model_input_names=["input_ids", "attention_mask"])
    marks = [BEGIN, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>", IMAGE]
    out.add_special_tokens({"bos_token": BEGIN, "eos_token": "<|eot_id|>", "pad_token": "<|pad|>",
                            "additional_special_tokens": [AddedToken(t, normalized=False, special=True)
                                                          for t in marks if t not in (BEGIN, "<|eot_id|>", "<|pad|>")]})
    out.padding_side, out.chat_template = "left", TEMPLATE
    return out


def mllama(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    words = tokenizer()
    image = words.convert_tokens_to_ids(IMAGE)
    assert image == len(words) - 1
    vision = {"hidden_size": 16, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 2,
              "intermediate_size": 24, "vision_output_dim": 32, "image_size": TILE, "patch_size": 8,
              "max_num_tiles": 4, "intermediate_layers_indices": [0]}
    # the picture's token has an embedding and no logit, as in the released models
    text = {"vocab_size": image, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 40, "max_position_embeddings": 256,
            "cross_attention_layers": [1, 3], "rope_theta": 500000.0,
            "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32},
            "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    model = tf.MllamaForConditionalGeneration(tf.MllamaConfig(vision, text, image_token_index=image))
    randomise(model, seed)
    randomise(model.model.language_model, seed + 1000, gain=2.0)
    randomise(model.lm_head, seed + 2000, gain=2.0)
    model.generation_config = tf.GenerationConfig(bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
                                                  pad_token_id=words.pad_token_id, max_length=128)
    core.save_rounded(model, checkpoint)
    pixels_of = tf.MllamaImageProcessor(size={"height": TILE, "width": TILE}, max_image_tiles=4)
    processor = tf.MllamaProcessor(pixels_of, words, chat_template=TEMPLATE)
    processor.save_pretrained(checkpoint)
    model = tf.MllamaForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager").eval()
    pictures = load_images(images)
    texts = ["".join(IMAGE if isinstance(x, int) else x for x in p) for p in PROMPTS]
    numbers = [[x for x in p if isinstance(x, int)] for p in PROMPTS]

    def encode(rows):
        return processor(images=[[pictures[n] for n in numbers[r]] for r in rows], text=[texts[r] for r in rows],
                         padding=True, return_tensors="pt")

    def generate(rows, **parameters):
        inputs = encode(rows)
        out = model.generate(**inputs, **parameters)
        return out.sequences[:, inputs["input_ids"].shape[1]:], out

    core.generations(golden, generate, lambda ids: words.decode(ids, skip_special_tokens=True))
    made = pixels_of([[p] for p in pictures], return_tensors="pt")
    for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"):
        golden.array(name, made[name][:, 0])
    counts = [n[0] for n in made["num_tiles"]]
    with torch.no_grad():
        states = model.model.vision_model(**{n: made[n] for n in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")})
        golden.array("image_embeds", model.model.multi_modal_projector(states.last_hidden_state)[:, 0].flatten(1, 2))
        golden.array("prompt_logits", model(**encode([1]), use_cache=False).logits[0])

        def answer(inputs):
            ids = model.generate(**inputs, max_new_tokens=core.NEW_TOKENS, do_sample=False, eos_token_id=None)
            return ids[0, inputs["input_ids"].shape[1]:].tolist()

        alone = processor(text=TEXT, return_tensors="pt")
        golden.data["text_only"] = {"text": TEXT, "input_ids": alone["input_ids"][0], "ids": answer(alone)}
        laid = processor.apply_chat_template(CHAT, add_generation_prompt=True)
        talk = processor(images=[pictures[1:]], text=laid, add_special_tokens=False, return_tensors="pt")
        golden.data["chat"] = {"messages": CHAT, "images": [f"../images/{p.name}" for p in images[1:]], "text": laid,
                               "input_ids": talk["input_ids"][0], "ids": answer(talk)}
    golden.data["prompt_logits"] = "row 1, every position of its prompt"
    golden.data["rows"] = []
    for r in range(core.ROWS):
        row = encode([r])
        golden.data["rows"].append(
            {"prompt": [f"../images/{images[x].name}" if isinstance(x, int) else x for x in PROMPTS[r]],
             "images": numbers[r], "tiles": [counts[n] for n in numbers[r]], "text": texts[r],
             "input_ids": row["input_ids"][0], "cross_attention_mask": row["cross_attention_mask"][0].tolist()})
