"""Golden files of Pix2Struct, for captions."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

from . import core, tokens
from .blip_family import load_images
from .core import Golden

TEXTS = ["", "a photo of", "the dog"]
PATCH = {"height": 8, "width": 8}


def pix2struct(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    """Lists of at most 40 patches: 35, 35 and 36 of the three pictures."""
    tokenizer = tokens.t5()
    sizes = {"hidden_size": 32, "d_kv": 8, "d_ff": 48}
    config = tf.Pix2StructConfig(
        text_config=sizes | {"vocab_size": len(tokenizer), "num_layers": 2, "num_heads": 4, "relative_attention_num_buckets": 8,
                             "relative_attention_max_distance": 20},
        vision_config=sizes | {"patch_embed_hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4, "seq_len": 64})
    model = tf.Pix2StructForConditionalGeneration(config)
    core.randomise(model, seed, gain=1.5)
    for layer in model.decoder.layer:
        layer.encoder_decoder_attention.attention.output.weight.data *= 2  # or the picture says little
    core.save_rounded(model, checkpoint)
    processor = tf.Pix2StructProcessor(tf.Pix2StructImageProcessor(patch_size=PATCH, max_patches=40), tokenizer)
    processor.save_pretrained(checkpoint)
    model = tf.Pix2StructForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager").eval()
    # The processor itself would ask for 2048 patches in 4.57.6, whatever the file says.
    made = processor.image_processor(load_images(images), return_tensors="pt")
    prompts = [tokenizer(t, add_special_tokens=False).input_ids for t in TEXTS]

    def generate(rows, texts=prompts, **parameters):
        given = torch.tensor([texts[r] for r in rows], dtype=torch.int64)  # equal lengths: it counts padding
        call = {"decoder_input_ids": given} if given.numel() else {}
        out = model.generate(**{k: v[rows] for k, v in made.items()}, **call, **parameters)
        return out.sequences[:, 1 + given.shape[1]:], out

    core.generations(golden, generate, lambda ids: tokenizer.decode(ids, skip_special_tokens=True), batch=False)
    bare, plain = {}, {"max_new_tokens": core.NEW_TOKENS, "do_sample": False, "texts": [[], [], []]}
    for rows in ([0], [1], [2], [0, 1, 2]):  # lists of patches of several lengths in a batch
        bare[len(rows) * 3 + rows[-1]] = generate(rows, **plain, return_dict_in_generate=True)[0].tolist()
    if bare.pop(11) != [row for n in (3, 4, 5) for row in bare[n]]:
        raise core.Unsuitable("a batch differs from its single rows")
    golden.data["captions"] = [row for n in (3, 4, 5) for row in bare[n]]
    with torch.no_grad():
        golden.array("image_embeds", model.encoder(**made).last_hidden_state)
    golden.array("flattened_patches", made["flattened_patches"])
    golden.array("attention_mask", made["attention_mask"])
    golden.data["decoder_start_token_id"] = 0
    golden.data["rows"] = [{"image": f"../images/{images[i].name}", "text": TEXTS[i], "input_ids": prompts[i]}
                           for i in range(core.ROWS)]
