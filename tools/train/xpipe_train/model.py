"""blip2-mini in torch: BLIP-2's parts at small size, with evidence put in words beside the queries.

vision (frozen encoder + neck + concept words) -> Blip2QFormerModel -> language_projection ->
OPTForCausalLM.

image_embeds is [pooled | cells | concept words]:
  - each cell of the encoder's grid says what it holds: a small classifier gives probabilities of
      names and colours,
    and its token is the mixture of those words' embeddings, which are the language model's own. A
        cell that holds nothing is one
    and the same null token, so that attention to the cells that match a word against those that do
        not grows with their number;
  - the concept words are the embeddings of what the encoder's classifier and the emoji discriminant
      name first and second.
Of the Q-Former's queries some are free, and one is bound to each cell: it reads that cell alone.
The language model gets the free queries, the cells (fused with their bound queries) and the concept
words, and can copy a name that it was shown.
"""
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Blip2QFormerConfig, Blip2QFormerModel, OPTConfig, OPTForCausalLM
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

from .encoder import CELL, CLASSES, GRID, POOLED
from .techniques import GatedFusion

SLOTS = 4  # classifier's first and second, discriminant's first and second


@dataclass
class MiniConfig:
    width: int = 128
    heads: int = 4
    ff: int = 512
    qformer_layers: int = 3
    queries: int = 12  # free ones; each cell has one of its own besides
    lm_layers: int = 3
    vocab: int = 3000
    positions: int = 160
    concept_words: int = 4  # tokens kept of each concept's name
    cell_hidden: int = 256
    dropout: float = 0.1
    cell_dropout: float = 0.1  # in the classifier of cells
    fusion: str = "gated"  # how cells reach the language model: gated | concat | pool (through the free queries alone)
    balance: float = 1.0  # factor of the logits from text to image in the language model (TACA); 1 is none
    emoji: int = 1391
    cell_names: list = field(default_factory=list)
    cell_colours: list = field(default_factory=list)

    @property
    def concept_tokens(self):
        return SLOTS * self.concept_words

    @property
    def prefix(self):
        """Image tokens that the language model gets."""
        return self.queries + (GRID if self.fusion != "pool" else 0) + self.concept_tokens


class Cells(nn.Module):
    """grid [B,49,768] -> logits of names [B,49,1+names] (0: nothing) and of colours
    [B,49,1+colours] (0: its own), the thing's centre from the cell's, in cells [B,49,2]. Each cell
    sees its eight neighbours' features, to know whose a thing between two is."""

    def __init__(self, c: MiniConfig):
        super().__init__()
        self.register_buffer("mean", torch.zeros(CELL))
        self.register_buffer("std", torch.ones(CELL))
        self.read = nn.Linear(CELL, c.cell_hidden)
        self.around = nn.Conv2d(c.cell_hidden, c.cell_hidden, 3, padding=1, groups=c.cell_hidden)
        self.mix = nn.Linear(c.cell_hidden, c.cell_hidden)
        self.drop = nn.Dropout(c.cell_dropout)
        self.names = nn.Linear(c.cell_hidden, 1 + len(c.cell_names))
        self.colours = nn.Linear(c.cell_hidden, 1 + len(c.cell_colours))
        self.centre = nn.Linear(c.cell_hidden, 2)

    def forward(self, grid):
        side = int(GRID ** 0.5)
        x = F.gelu(self.read((grid - self.mean) / self.std))
        near = self.around(x.transpose(1, 2).unflatten(2, (side, side))).flatten(2).transpose(1, 2)
        x = x + F.gelu(self.mix(self.drop(near)))
        x = self.drop(x)
        return self.names(x), self.colours(x), self.centre(x)


class Neck(nn.Module):
    """grid [B,49,768], pooled [B,1280], the language model's embeddings -> tokens [B,50,D], and
    what the cells' classifier said."""

    def __init__(self, c: MiniConfig, names: torch.Tensor, colours: torch.Tensor):
        super().__init__()
        self.register_buffer("pooled_mean", torch.zeros(POOLED))
        self.register_buffer("pooled_std", torch.ones(POOLED))
        self.pooled, self.norm = nn.Linear(POOLED, c.width), nn.LayerNorm(c.width)
        self.place_pooled = nn.Parameter(torch.randn(c.width) * 0.1)
        self.cells = Cells(c)
        self.register_buffer("names", names)  # [names, L] token ids, padded with -1
        self.register_buffer("colours", colours)
        side = int(GRID ** 0.5)
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
        self.axes = nn.Parameter(torch.randn(2, c.width) * 0.1)  # what a step to the right and one down mean
        self.place = nn.Parameter(torch.stack([x, y], -1).flatten(0, 1) @ self.axes.detach()
                                  + torch.randn(GRID, c.width) * 0.02)
        self.nothing = nn.Parameter(torch.randn(c.width) * 0.1)
        self.kind = nn.Parameter(torch.randn(2, c.width) * 0.02)  # marks a named thing, and one in its own colours

    def forward(self, grid, pooled, table):
        p = self.norm(self.pooled((pooled - self.pooled_mean) / self.pooled_std) + self.place_pooled)
        names, colours, centre = self.cells(grid)
        n, k = names.softmax(-1), colours.softmax(-1)
        thing = 1 - n[..., :1]
        step = 2 / (GRID ** 0.5 - 1)
        about = k[..., 1:] @ mean_embedding(self.colours, table) + k[..., :1] * self.kind[1] + self.kind[0]
        about = about + self.place + step * centre.clamp(-0.5, 0.5) @ self.axes
        cells = n[..., 1:] @ mean_embedding(self.names, table) + thing * about + n[..., :1] * self.nothing
        return torch.cat([p[:, None], cells], 1), (names, colours, centre)


def mean_embedding(ids, table):
    """ids [n,L] padded with -1 -> [n,D], the mean of each row's embeddings."""
    real = (ids >= 0).to(table.dtype)[..., None]
    return (F.embedding(ids.clamp(min=0), table) * real).sum(1) / real.sum(1)


class Concepts(nn.Module):
    """pooled [B,1280] -> the first two names of each head, as ids into `words` and probabilities
    [B,4].

    The discriminant reads square roots: rectified means are skewed, and it assumes normal classes
    (on held-out styles that is worth two to six points). Of a photo, the classifier's names stand
    in place of the discriminant's, too."""

    def __init__(self, c: MiniConfig, classifier: nn.Linear):
        super().__init__()
        self.classifier = classifier
        self.emoji = nn.Linear(POOLED, c.emoji)
        self.photo = nn.Linear(POOLED, 1)
        # until it is fitted, nothing is a photo
        nn.init.zeros_(self.photo.weight)
        nn.init.constant_(self.photo.bias, -1.0)
        for p in self.parameters():
            p.requires_grad_(False)

    def forward(self, pooled):
        first = self.classifier(pooled).softmax(-1)
        second = self.emoji(pooled.sqrt()).softmax(-1)
        return as_photo(*top_two(first, 0, second, CLASSES), self.is_photo(pooled))

    def is_photo(self, pooled):
        return self.photo(pooled.sqrt()) > 0  # [B,1]

    def places(self, channels, pooled, ids):
        """Where each name comes from: channels [B,1280,7,7] -> [B,4,49], rows that sum to 1, or to
        0 where nothing speaks for the name.

        A class activation map (Zhou et al., 1512.04150): the name's logit, less the mean of all, is
        a sum over channels, and each channel's part belongs to the cells that the channel's mean
        comes from. What speaks against the name is left out."""
        channels = channels.flatten(2)
        by = [(self.classifier, 0, None), (self.emoji, CLASSES, pooled.clamp(min=1e-9).rsqrt())]
        parts = []
        for i, (head, offset, scale) in enumerate(by):
            # [B,2,1280]
            w = F.embedding((ids[:, 2 * i:2 * i + 2] - offset).clamp(min=0), head.weight)
            w = w - head.weight.mean(0)
            parts.append((w if scale is None else w * scale[:, None]) @ channels)
        parts[1] = torch.where(self.is_photo(pooled)[..., None], parts[0], parts[1])
        m = torch.cat(parts, 1).clamp(min=0)
        return m / m.sum(-1, keepdim=True).clamp(min=1e-9)


def top_two(first, first_offset, second, second_offset):
    ids, probs = [], []
    for p, offset in ((first, first_offset), (second, second_offset)):
        i = p.argmax(-1, keepdim=True)
        rest = torch.where(torch.arange(p.shape[1], device=p.device)[None] == i, torch.full_like(p, -1.0), p)
        j = rest.argmax(-1, keepdim=True)
        ids += [i + offset, j + offset]
        probs += [p.amax(-1, keepdim=True), rest.amax(-1, keepdim=True)]
    return torch.cat(ids, 1), torch.cat(probs, 1)


def as_photo(ids, probs, photo):
    """The classifier's names twice where photo [B,1]."""
    return torch.where(photo, ids[:, :2].repeat(1, 2), ids), torch.where(photo, probs[:, :2].repeat(1, 2), probs)


class ConceptWords(nn.Module):
    """ids, probabilities [B,4] -> tokens [B,4*L,D]: embeddings of the names' first L tokens, marked
    by slot and probability. The embedding table is the language model's own."""

    def __init__(self, c: MiniConfig, words: torch.Tensor):
        super().__init__()
        self.register_buffer("words", words)  # [1000+emoji, L] token ids
        self.slot = nn.Parameter(torch.randn(SLOTS, c.concept_words, c.width) * 0.02)
        self.sure = nn.Parameter(torch.randn(SLOTS, c.concept_words, c.width) * 0.02)

    def forward(self, ids, probs, table):
        e = F.embedding(self.words[ids], table)  # [B,4,L,D]
        return (e + self.slot + probs[..., None, None] * self.sure).flatten(1, 2)


class Vision(nn.Module):
    """pixel_values [B,3,224,224] -> image_embeds [B,50+4L,D], image_places [B,50+4L,49].

    image_places says from which cells a token comes: a cell from itself, concept words from where
    their name does, the pooled token from nowhere in particular: its row is 0."""

    def __init__(self, encoder, neck, concepts, words, table):
        super().__init__()
        self.encoder, self.neck, self.concepts, self.words = encoder, neck, concepts, words
        self.table = nn.Parameter(table.detach().clone(), requires_grad=False)

    def forward(self, pixel_values):
        grid, channels = self.encoder.look(pixel_values)
        pooled = channels.mean((2, 3))
        ids, probs = self.concepts(pooled)
        tokens = torch.cat([self.neck(grid, pooled, self.table)[0], self.words(ids, probs, self.table)], 1)
        words = self.concepts.places(channels, pooled, ids).repeat_interleave(self.words.words.shape[1], 1)
        cells = F.pad(torch.eye(GRID), (0, 0, 1, 0)).expand(tokens.shape[0], -1, -1)
        return tokens, torch.cat([cells, words], 1)


class ConceptQFormer(Blip2QFormerModel):
    """Blip2QFormerModel with free and bound queries. Its output is the free queries, the cells as
    fusion has them, and the image's concept tokens, unchanged. image_embeds may be of any length:
    between the first and the concept tokens all are cells."""

    def __init__(self, config, c: MiniConfig):
        super().__init__(config)
        self.free, self.concept_tokens, self.fusion = c.queries, c.concept_tokens, c.fusion
        self.bound = True  # False: the gate is taken as fully open, so that bound queries need not be computed
        if c.fusion == "gated":
            self.gate = GatedFusion(c.width, 6.0)

    def forward(self, query_embeds, encoder_hidden_states):
        x = encoder_hidden_states
        concepts, free = x[:, -self.concept_tokens:], self.free
        cells = x[:, 1:-self.concept_tokens]
        if self.fusion == "pool" or self.fusion == "gated" and not self.bound:
            y = super().forward(query_embeds=query_embeds[:, :free], encoder_hidden_states=x).last_hidden_state
            return BaseModelOutput(
                last_hidden_state=torch.cat([y, concepts] if self.fusion == "pool"
                                            else [y, cells, concepts], 1))
        queries = query_embeds[:, :free + cells.shape[1]]
        # in the picture a free query sees everything and the bound query of a cell that cell; among
        # the queries the free ones see each other, the bound ones all
        row = torch.arange(queries.shape[1], device=x.device)[:, None] - free
        column = torch.arange(x.shape[1], device=x.device)[None]
        picture = ((row < 0) | (row + 1 == column)).to(x.dtype)
        among = ((row >= 0) | (row.T < 0)).to(x.dtype)
        y = super().forward(query_embeds=queries, encoder_hidden_states=x,
                            attention_mask=among[None], encoder_attention_mask=picture[None]).last_hidden_state
        bound = y[:, free:]
        if self.fusion == "gated":
            bound = self.gate(cells, bound)
        return BaseModelOutput(last_hidden_state=torch.cat([y[:, :free], bound, concepts], 1))


class Blip2Mini(nn.Module):
    """Everything that is trained. Features come from the cache; Vision is the whole encoder."""

    def __init__(self, c: MiniConfig, words: torch.Tensor, cell_names: torch.Tensor, cell_colours: torch.Tensor,
                 classifier: nn.Linear, token_ids: dict):
        super().__init__()
        self.c = c
        self.neck = Neck(c, cell_names, cell_colours)
        self.concepts = Concepts(c, classifier)
        self.words = ConceptWords(c, words)
        self.query_tokens = nn.Parameter(torch.randn(1, c.queries + GRID, c.width) * 0.5)
        with torch.no_grad():
            self.query_tokens[0, c.queries:] = self.neck.place * 3
        self.qformer = ConceptQFormer(Blip2QFormerConfig(
            vocab_size=1, hidden_size=c.width, num_hidden_layers=c.qformer_layers, num_attention_heads=c.heads,
            intermediate_size=c.ff, hidden_dropout_prob=c.dropout, attention_probs_dropout_prob=c.dropout,
            cross_attention_frequency=1, encoder_hidden_size=c.width, max_position_embeddings=c.positions), c)
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

    @property
    def table(self):
        return self.lm.model.decoder.embed_tokens.weight

    def image_embeds(self, grid, pooled, ids, probs):
        """(image_embeds [B,50+4L,D], what the cells' classifier said)."""
        tokens, said = self.neck(grid, pooled, self.table)
        return torch.cat([tokens, self.words(ids, probs, self.table)], 1), said

    def query_output(self, image_embeds):
        queries = self.query_tokens.expand(len(image_embeds), -1, -1)
        return self.qformer(query_embeds=queries, encoder_hidden_states=image_embeds).last_hidden_state

    def itc_logits(self, query_output, names):
        """Image against every name: query_output [B,Q+C,D], names [n,T] padded token ids ->
        [B,n]."""
        image = F.normalize(self.image_head(query_output[:, :self.c.queries].mean(1)), dim=-1)
        real = (names != self.lm.config.pad_token_id).float()[..., None]
        text = (F.embedding(names, self.table) * real).sum(1) / real.sum(1).clamp(min=1)
        return image @ F.normalize(self.text_head(text), dim=-1).T * self.temperature.exp()

    def prefix(self, query_output):
        """Runs the projected image tokens through the language model once; returns its keys and
        values per layer. Text asks the keys `balance` times as loudly (they are scaled here, which
        scales the logits from text to image alone)."""
        out = self.lm.model(inputs_embeds=self.language_projection(query_output), use_cache=True)
        return [(layer.keys * self.c.balance if self.c.balance != 1 else layer.keys, layer.values)
                for layer in out.past_key_values.layers], query_output.shape[1]

    def behind(self, prefix, image):
        """A cache that holds the prefix of image[n] in row n, and the prefix's length."""
        cache = DynamicCache()
        for i, (k, v) in enumerate(prefix[0]):
            cache.update(k[image], v[image], i)
        return cache, prefix[1]

    def text_loss(self, prefix, image, tokens, targets, early=None):
        """Cross entropy of targets [n,T] (-100 = none) for tokens [n,T] behind the prefix of
        image[n], and whether each text's first target would have been said, [n] bool. early [n,T]
        are targets of positions before that: (loss, hits, their loss)."""
        cache, length = self.behind(prefix, image)
        seen = torch.ones(len(tokens), length + tokens.shape[1], dtype=torch.long, device=tokens.device)
        hidden = self.lm.model(input_ids=tokens, past_key_values=cache, use_cache=True,
                               attention_mask=seen).last_hidden_state
        where = targets >= 0
        logits = self.lm.lm_head(hidden[where])
        count = where.sum(1)
        hits = (logits.argmax(-1) == targets[where])[count.cumsum(0) - count]
        loss = F.cross_entropy(logits, targets[where])
        if early is None or not (before := early >= 0).any():
            return loss, hits, loss.new_zeros(())
        return loss, hits, F.cross_entropy(self.lm.lm_head(hidden[before]), early[before])

    @torch.no_grad()
    def generate(self, query_output, prompts, image, eos, limit=16):
        """Greedy decoding of prompts (lists of ids) for image[n]; returns the new ids of each."""
        out = [[] for _ in prompts]
        by_length: dict[int, list[int]] = {}
        for n, p in enumerate(prompts):
            by_length.setdefault(len(p), []).append(n)
        prefix, device = self.prefix(query_output), query_output.device
        for rows in by_length.values():
            cache, seen = self.behind(prefix, torch.tensor([image[n] for n in rows], device=device))
            tokens = torch.tensor([prompts[n] for n in rows], device=device)
            live = torch.ones(len(rows), dtype=torch.bool, device=device)
            for _ in range(limit):
                seen += tokens.shape[1]
                mask = torch.ones(len(rows), seen, dtype=torch.long, device=device)
                hidden = self.lm.model(input_ids=tokens, past_key_values=cache, use_cache=True,
                                       attention_mask=mask).last_hidden_state
                token = self.lm.lm_head(hidden[:, -1]).argmax(-1)
                live &= token != eos
                if not live.any():
                    break
                for i, n in enumerate(rows):
                    if live[i]:
                        out[n].append(int(token[i]))
                tokens = token[:, None]
        return out
