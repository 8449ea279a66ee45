"""flamingo-mini in torch: OpenFlamingo's own parts (tools/export's modules) at small size, over
GPT-NeoX's language model.

pixels -> frozen encoder -> cells [N,49,66] -> perceiver resampler -> latents [N,4,66] -> gated
cross-attention in the language model, in which every token sees the picture named last before it.

What has to happen in an episode is known (an induction head, 2209.11895, that matches pictures as
well as tokens), and the weights start close to it, so that training refines a mechanism instead of
searching for one. The residual stream of 192 is thought of in three parts of 64:

    SEEN   what the picture before this token looks like        written by the first gated block
    OWN    which token this is                                  the embeddings
    TOLD   which token stood before, and then what to say next  written by the first layer's and the
           second layer's attention

The first layer's first head looks one token back. The second layer's looks for a token whose
picture looks alike and that follows a token like this one, and says what it is. All of it is
trained on from there, and the rest starts small.
"""
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from xpipe_export.families import flamingo as contract
from xpipe_export.families.open_flamingo import GatedBlock, OpenFlamingo, Perceiver

from .encoder import POOLED, Encoder

PAD, END, MEDIA = "<PAD>", "<|endofchunk|>", "<image>"
IDS = {"pad": 0, "end": 1, "media": 2}
CAPTION, ANSWER = "", "Question: {} Answer:"
PART = 64  # of the residual stream
SEEN, OWN, TOLD = (slice(i * PART, (i + 1) * PART) for i in range(3))
STEADY = 20.0  # the two steady channels of a cell, +-


@dataclass
class FlamingoConfig:
    width: int = 192
    heads: int = 2
    ff: int = 384
    layers: int = 3
    rotary: int = 16  # of each head's dimensions
    base: int = 100   # of the rotary frequencies
    vocab: int = 1200
    positions: int = 512
    latents: int = 4
    cross_heads: int = 4
    cross_width: int = 128


class Cells(nn.Module):
    """The encoder's last features [N,1280,7,7] -> cells [N,49,66].

    64 discriminant directions, and two steady channels +-20 beside them. Their mean over the cells
    is the projection of the pooled feature; the steady channels keep the layer norm that the
    resampler begins with from stretching empty cells to the size of full ones.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(POOLED))
        self.register_buffer("weight", torch.zeros(PART, POOLED))

    def forward(self, features):
        x = (features.flatten(2).transpose(1, 2) - self.mean) @ self.weight.T
        steady = torch.full_like(x[..., :1], STEADY)
        return torch.cat([x, steady, -steady], -1)

    def fit(self, pooled: torch.Tensor, concepts: torch.Tensor, shrink: float) -> None:
        """Fisher's discriminant of the concepts: the directions that tell them apart, in units of
        how far drawings of one concept differ. pooled [n,1280], concepts [n]. What it learns is
        which differences do not matter, and that holds for concepts it has not seen."""
        mean = pooled.mean(0)
        x = pooled - mean
        number = torch.unique(concepts, return_inverse=True)[1]
        count = torch.bincount(number)[:, None]
        means = torch.zeros(len(count), POOLED).index_add_(0, number, x) / count
        rest = x - means[number]
        within = rest.T @ rest / len(x)
        within = (1 - shrink) * within + shrink * within.trace() / POOLED * torch.eye(POOLED)
        values, vectors = torch.linalg.eigh(within)
        white = vectors * values.rsqrt()
        _, directions = torch.linalg.eigh((means @ white).T @ (means @ white))
        # rounded as the bundle stores them
        self.mean.copy_(mean.half().float())
        self.weight.copy_((white @ directions.flip(1)[:, :PART]).T.half().float())


class Vision(nn.Module):
    """pixel_values [N,3,224,224] -> image_embeds [N,49,66]"""

    def __init__(self, encoder: Encoder, cells: Cells):
        super().__init__()
        self.encoder, self.cells = encoder, cells

    def forward(self, pixel_values):
        e = self.encoder
        x = e.act(e.stem(pixel_values))
        for block in e.blocks:
            x = block(x)
        return self.cells(e.act(e.head(x)))


def blank(c: FlamingoConfig) -> OpenFlamingo:
    """The model with the weights its modules begin with; vision_encoder is Cells alone."""
    lm = GPTNeoXForCausalLM._from_config(
        GPTNeoXConfig(
            vocab_size=c.vocab, hidden_size=c.width, num_hidden_layers=c.layers,
            num_attention_heads=c.heads, intermediate_size=c.ff,
            rotary_pct=c.rotary / (c.width // c.heads), rotary_emb_base=c.base,
            max_position_embeddings=c.positions, use_parallel_residual=False,
            hidden_act="gelu", tie_word_embeddings=False, bos_token_id=None,
            eos_token_id=IDS["end"], pad_token_id=IDS["pad"]), attn_implementation="eager")
    seen = PART + 2
    perceiver = Perceiver(seen, c.cross_width, c.cross_heads, c.latents, 1, 4 * seen)
    blocks = {i: GatedBlock(c.width, seen, c.cross_width, c.cross_heads, c.ff) for i in range(c.layers)}
    return OpenFlamingo(Cells(), lm, perceiver, blocks)


@torch.no_grad()
def begin(model: OpenFlamingo) -> None:
    """The weights that training starts from; see the module's comment."""
    lm, one = model.lang_encoder, torch.eye(PART)
    for p in model.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.02)
    # The resampler: latents are a mean of the cells in which those that hold something outweigh
    # plain ground. (In a cell with much in it the layer norm leaves less of the steady channel, so
    # the key is that channel, negative.)
    perceiver = model.perceiver
    nn.init.normal_(perceiver.latents, std=0.1)
    perceiver.latents[:, PART:] = torch.tensor([2.0, -2.0])
    attention, ff = perceiver.layers[0]
    inner = attention.to_q.out_features
    attention.to_q.weight[::inner // attention.heads, PART] = 1.1
    attention.to_kv.weight[:inner:inner // attention.heads, PART] = -1.1
    attention.to_kv.weight[inner:inner + PART, :PART] = one
    attention.to_out.weight[:PART, :PART] = 4 * one
    nn.init.zeros_(ff[3].weight)
    # The gated blocks: the first writes what the latents say to SEEN, those behind it are nearly
    # shut.
    for number, block in enumerate(model.blocks):
        nn.init.zeros_(block.attn.to_q.weight)
        block.attn.to_kv.weight[inner:inner + PART, :PART] = one
        if number == 0:
            block.attn.to_out.weight[SEEN, :PART] = one
        block.attn_gate.fill_(1.0 if number == 0 else 0.3)
        block.ff_gate.fill_(0.3)
    # The language model.
    embedding = torch.randn(lm.config.vocab_size, PART)
    tables = lm.get_input_embeddings().weight, lm.get_output_embeddings().weight
    tables[0][:, OWN], tables[1][:, TOLD] = embedding, 0.15 * embedding
    size, rotary = (lm.config.hidden_size // lm.config.num_attention_heads,
                    int(lm.config.rotary_pct * lm.config.hidden_size // lm.config.num_attention_heads))
    layers = [layer.decoder_layer for layer in lm.gpt_neox.layers]
    # of each layer's first head
    parts = [
        (l.attention.query_key_value.weight[:3 * size].view(3, size, -1),
         l.attention.query_key_value.bias[:3 * size].view(3, size), l.attention.dense.weight)
        for l in layers[:2]]
    # One token back: key and query point the same way once the positions have turned the query one
    # step less.
    (weight, bias, out), half = parts[0], rotary // 2
    angle = -1.0 / lm.config.rotary_emb_base ** (torch.arange(half) * 2 / rotary)
    sharp = 8.0
    weight[:2] = 0
    bias[0, :half], bias[0, half:rotary] = sharp * angle.cos(), sharp * angle.sin()
    bias[1, :half] = sharp
    weight[2, :PART, OWN] = one
    out[TOLD, :PART] = one
    # A picture that looks alike, and behind a token like this one.
    weight, _, out = parts[1]
    weight[:2] = 0
    weight[0, rotary:rotary + PART, SEEN] = weight[1, rotary:rotary + PART, SEEN] = 1.6 * one
    few = size - rotary - PART
    some = 2.4 * torch.randn(few, PART) / PART ** 0.5
    weight[0, rotary + PART:, OWN], weight[1, rotary + PART:, TOLD] = some, some
    weight[2, :PART, OWN] = one
    out[TOLD, :PART] = 3 * one


def media_rows(ids: torch.Tensor, images: int) -> torch.Tensor:
    """ids [B,T] -> image_attention_mask [B,T,I]: 1 at the picture named last at or before each
    token."""
    time = (ids == IDS["media"]).cumsum(1)
    return F.one_hot(time, images + 1)[..., 1:]


def hidden(model: OpenFlamingo, cells: torch.Tensor, which: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """cells [N,49,66] of distinct pictures, which [B,I] the pictures of each row (-1 for none), ids
    [B,T] padded behind -> last states [B,T,D]."""
    latents = model.perceiver(cells)[which.clamp(min=0)] * (which >= 0)[..., None, None]
    media = media_rows(ids, which.shape[1])
    mask = contract.media_mask(media, model.tokens)
    gate = media.any(-1).to(latents.dtype)
    for block in model.blocks:
        block.condition(*block.keys_values(latents.flatten(1, 2)), mask, gate)
    return model.lang_encoder.gpt_neox(input_ids=ids, attention_mask=(ids != IDS["pad"]).long(),
                                       use_cache=False).last_hidden_state


def train_tokenizer(texts: list[str], out: Path, vocab: int) -> Tokenizer:
    """Byte-level BPE over words between spaces, case kept, so that any name a user makes up comes
    back as it was."""
    tok = Tokenizer(models.BPE(unk_token=None))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r" ?\S+"), "isolated"),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[PAD, END, MEDIA], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.save(str(out))
    return tok
