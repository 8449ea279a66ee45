"""blip2-mini in torch: BLIP-2's parts at small size, with concept words beside the queries.

vision (frozen encoder + neck + concept words) -> Blip2QFormerModel -> language_projection -> OPTForCausalLM.
The last `concept_tokens` of image_embeds are word embeddings of what the encoder's classifier and the emoji
discriminant name first and second; the Q-Former attends to them like to any other image token and also hands
them on behind its queries, so that the language model can copy a name it was shown.
"""
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Blip2QFormerConfig, Blip2QFormerModel, OPTConfig, OPTForCausalLM
from transformers.modeling_outputs import BaseModelOutput

from .encoder import CELL, CLASSES, GRID, POOLED

SLOTS = 4  # classifier's first and second, discriminant's first and second


@dataclass
class MiniConfig:
    width: int = 128
    heads: int = 4
    ff: int = 512
    qformer_layers: int = 3
    queries: int = 12
    lm_layers: int = 3
    vocab: int = 3000
    positions: int = 64
    concept_words: int = 4  # tokens kept of each concept's name
    dropout: float = 0.1
    emoji: int = 1391

    @property
    def concept_tokens(self):
        return SLOTS * self.concept_words


class Neck(nn.Module):
    """grid [B,25,768], pooled [B,1280] -> tokens [B,26,D]: standardised, projected, each cell told its place."""

    def __init__(self, c: MiniConfig):
        super().__init__()
        for name, n in (("grid", CELL), ("pooled", POOLED)):
            self.register_buffer(f"{name}_mean", torch.zeros(n))
            self.register_buffer(f"{name}_std", torch.ones(n))
        self.grid, self.pooled = nn.Linear(CELL, c.width), nn.Linear(POOLED, c.width)
        self.place = nn.Parameter(torch.randn(1 + GRID, c.width) * 0.1)
        self.norm = nn.LayerNorm(c.width)

    def forward(self, grid, pooled):
        g = self.grid((grid - self.grid_mean) / self.grid_std)
        p = self.pooled((pooled - self.pooled_mean) / self.pooled_std)
        return self.norm(torch.cat([p[:, None], g], 1) + self.place)


class Concepts(nn.Module):
    """pooled [B,1280] -> the first two names of each head, as ids into `words` and probabilities [B,4].

    The discriminant reads square roots: rectified means are skewed, and it assumes normal classes (on held-out
    styles that is worth two to six points)."""

    def __init__(self, c: MiniConfig, classifier: nn.Linear):
        super().__init__()
        self.classifier = classifier
        self.emoji = nn.Linear(POOLED, c.emoji)
        for p in self.parameters():
            p.requires_grad_(False)

    def forward(self, pooled):
        first = self.classifier(pooled).softmax(-1)
        second = self.emoji(pooled.sqrt()).softmax(-1)
        return top_two(first, 0, second, CLASSES)


def top_two(first, first_offset, second, second_offset):
    ids, probs = [], []
    for p, offset in ((first, first_offset), (second, second_offset)):
        i = p.argmax(-1, keepdim=True)
        rest = torch.where(torch.arange(p.shape[1], device=p.device)[None] == i, torch.full_like(p, -1.0), p)
        j = rest.argmax(-1, keepdim=True)
        ids += [i + offset, j + offset]
        probs += [p.amax(-1, keepdim=True), rest.amax(-1, keepdim=True)]
    return torch.cat(ids, 1), torch.cat(probs, 1)


class ConceptWords(nn.Module):
    """ids, probabilities [B,4] -> tokens [B,4*L,D]: embeddings of the names' first L tokens, marked by slot and
    probability. The embedding table is the language model's own."""

    def __init__(self, c: MiniConfig, words: torch.Tensor):
        super().__init__()
        self.register_buffer("words", words)  # [1000+emoji, L] token ids
        self.slot = nn.Parameter(torch.randn(SLOTS, c.concept_words, c.width) * 0.02)
        self.sure = nn.Parameter(torch.randn(SLOTS, c.concept_words, c.width) * 0.02)

    def forward(self, ids, probs, table):
        e = F.embedding(self.words[ids], table)  # [B,4,L,D]
        return (e + self.slot + probs[..., None, None] * self.sure).flatten(1, 2)


class Vision(nn.Module):
    """pixel_values [B,3,160,160] -> image_embeds [B,26+4L,D]."""

    def __init__(self, encoder, neck, concepts, words, table):
        super().__init__()
        self.encoder, self.neck, self.concepts, self.words = encoder, neck, concepts, words
        self.table = nn.Parameter(table.detach().clone(), requires_grad=False)

    def forward(self, pixel_values):
        grid, pooled = self.encoder(pixel_values)
        return torch.cat([self.neck(grid, pooled), self.words(*self.concepts(pooled), self.table)], 1)


class ConceptQFormer(Blip2QFormerModel):
    """Blip2QFormerModel whose output is its queries followed by the image's concept tokens, unchanged."""

    def __init__(self, config, concept_tokens: int):
        super().__init__(config)
        self.concept_tokens = concept_tokens

    def forward(self, query_embeds, encoder_hidden_states):
        queries = super().forward(query_embeds=query_embeds, encoder_hidden_states=encoder_hidden_states).last_hidden_state
        return BaseModelOutput(last_hidden_state=torch.cat([queries, encoder_hidden_states[:, -self.concept_tokens:]], 1))


class Blip2Mini(nn.Module):
    """Everything that is trained. Features come from the cache; `vision(encoder)` makes the whole encoder."""

    def __init__(self, c: MiniConfig, words: torch.Tensor, classifier: nn.Linear, token_ids: dict):
        super().__init__()
        self.c = c
        self.neck = Neck(c)
        self.concepts = Concepts(c, classifier)
        self.words = ConceptWords(c, words)
        self.query_tokens = nn.Parameter(torch.randn(1, c.queries, c.width) * 0.5)
        self.qformer = ConceptQFormer(Blip2QFormerConfig(
            vocab_size=1, hidden_size=c.width, num_hidden_layers=c.qformer_layers, num_attention_heads=c.heads,
            intermediate_size=c.ff, hidden_dropout_prob=c.dropout, attention_probs_dropout_prob=c.dropout,
            cross_attention_frequency=1, encoder_hidden_size=c.width, max_position_embeddings=c.positions), c.concept_tokens)
        self.language_projection = nn.Linear(c.width, c.width)
        self.lm = OPTForCausalLM(OPTConfig(
            vocab_size=c.vocab, hidden_size=c.width, word_embed_proj_dim=c.width, num_hidden_layers=c.lm_layers,
            num_attention_heads=c.heads, ffn_dim=c.ff, max_position_embeddings=c.positions, dropout=c.dropout,
            attention_dropout=0.0, do_layer_norm_before=True, bos_token_id=token_ids["bos"],
            eos_token_id=token_ids["eos"], pad_token_id=token_ids["pad"]))
        nn.init.normal_(self.lm.model.decoder.embed_tokens.weight, std=0.1)
        with torch.no_grad():  # the language model reads concept words as the words they are, from the start
            self.language_projection.weight.copy_(torch.eye(c.width))
            self.language_projection.bias.zero_()
        self.text_head, self.image_head = nn.Linear(c.width, c.width), nn.Linear(c.width, c.width)
        self.temperature = nn.Parameter(torch.tensor(2.66))

    def warm_start(self, weights: dict) -> None:
        """Takes over a checkpoint's trained weights; its concept heads are refitted anyway, and where it keeps fewer
        words of a concept's name, the new ones start as copies of its last."""
        weights = {k: v for k, v in weights.items() if not k.startswith("concepts.") and k != "words.words"}
        for k in ("words.slot", "words.sure"):
            missing = self.c.concept_words - weights[k].shape[1]
            weights[k] = torch.cat([weights[k], weights[k][:, -1:].repeat(1, max(0, missing), 1)], 1)
        left = self.load_state_dict(weights, strict=False)
        assert not left.unexpected_keys and all(k.startswith("concepts.") or k == "words.words" for k in left.missing_keys), left

    @property
    def table(self):
        return self.lm.model.decoder.embed_tokens.weight

    def image_embeds(self, grid, pooled, ids, probs):
        return torch.cat([self.neck(grid, pooled), self.words(ids, probs, self.table)], 1)

    def query_output(self, image_embeds):
        queries = self.query_tokens.expand(len(image_embeds), -1, -1)
        return self.qformer(query_embeds=queries, encoder_hidden_states=image_embeds).last_hidden_state

    def itc_logits(self, query_output, names):
        """Image against every name: query_output [B,Q+C,D], names [n,T] padded token ids -> [B,n]."""
        image = F.normalize(self.image_head(query_output[:, :self.c.queries].mean(1)), dim=-1)
        real = (names != self.lm.config.pad_token_id).float()[..., None]
        text = (F.embedding(names, self.table) * real).sum(1) / real.sum(1).clamp(min=1)
        return image @ F.normalize(self.text_head(text), dim=-1).T * self.temperature.exp()

    def prefix(self, query_output):
        """Runs the projected image tokens through the language model once; returns its keys and values per layer."""
        out = self.lm.model(inputs_embeds=self.language_projection(query_output), use_cache=True)
        return [(layer.keys, layer.values) for layer in out.past_key_values.layers], query_output.shape[1]

    def text_loss(self, prefix, image, tokens, targets):
        """Cross entropy of targets [n,T] (-100 = none) for tokens [n,T] behind the prefix of image[n]."""
        from transformers.cache_utils import DynamicCache
        layers, length = prefix
        cache = DynamicCache()
        for i, (k, v) in enumerate(layers):
            cache.update(k[image], v[image], i)
        hidden = self.lm.model(input_ids=tokens, past_key_values=cache, use_cache=True,
                               attention_mask=torch.ones(len(tokens), length + tokens.shape[1], dtype=torch.long)).last_hidden_state
        where = targets >= 0
        logits = self.lm.lm_head(hidden[where])
        return F.cross_entropy(logits, targets[where]), (logits.argmax(-1) == targets[where]).float().mean()

    @torch.no_grad()
    def generate(self, query_output, prompts, image, eos, limit=16):
        """Greedy decoding of prompts (lists of ids) for image[n]; returns the new ids of each."""
        out = [[] for _ in prompts]
        by_length: dict[int, list[int]] = {}
        for n, p in enumerate(prompts):
            by_length.setdefault(len(p), []).append(n)
        projected = self.language_projection(query_output)
        for rows in by_length.values():
            x = torch.cat([projected[[image[n] for n in rows]], self.lm.get_input_embeddings()(torch.tensor([prompts[n] for n in rows]))], 1)
            live, past = torch.ones(len(rows), dtype=torch.bool), None
            for _ in range(limit):
                step = self.lm(inputs_embeds=x, past_key_values=past, use_cache=True)
                past, token = step.past_key_values, step.logits[:, -1].argmax(-1)
                live &= token != eos
                if not live.any():
                    break
                for i, n in enumerate(rows):
                    if live[i]:
                        out[n].append(int(token[i]))
                x = self.lm.get_input_embeddings()(token)[:, None]
        return out
