"""Episodes: pictures with made-up names, then another drawing of one of them, whose name is asked
for.

    python -m xpipe_train.episodes OUT [--root build/train]     # the fixed test set, of concepts
        never trained on

A seventh of the concepts is held out: no picture of them is in any training episode, nor in the fit
of the encoder's projection. In the test the query is the Twitter drawing, a style held out as well,
and the shots are drawings of the other styles, all laid on white. OUT gets PNG files and
episodes.jsonl, a line an episode:

    {"n": 4, "shots": [{"image", "text"}], "image", "question", "answer", "control_shots":
        [{"image", "text"}]}

The control has the same pictures and names, and no picture keeps its name: what is right there is
luck.
"""
import argparse
import json
import random
from pathlib import Path


from . import pictures

QUESTION = "what is this?"
SHOTS, COUNT, SEED = (0, 2, 4, 8), 300, 8
CONSONANTS, VOWELS = "bdfghjklmnprstvwz", "aeiou"


def held_out(concept: int) -> bool:
    return concept % 7 == 3


def syllable(rng: random.Random) -> str:
    return rng.choice(CONSONANTS) + rng.choice(VOWELS)


def made_up(rng: random.Random, count: int, syllables: int = 2) -> list[str]:
    """Distinct made-up names, such as "zudo"."""
    names: list[str] = []
    while len(names) < count:
        name = "".join(syllable(rng) for _ in range(syllables))
        if name not in names:
            names.append(name)
    return names


def shifted(items: list, rng: random.Random) -> list:
    """A rearrangement in which nothing keeps its place; needs two items or more."""
    order = list(range(len(items)))
    rng.shuffle(order)
    out = [None] * len(items)
    for at, to in zip(order, order[1:] + order[:1]):
        out[to] = items[at]
    return out


def held_out_drawings(root: Path):
    """(shots, queries): concept -> [file, ...] in the training styles, concept -> file in the
    held-out style; for held-out concepts that have both."""
    _, train, test = pictures.emoji_index(root)
    shots: dict[int, list] = {}
    for _, path, concept in train:
        if held_out(concept):
            shots.setdefault(concept, []).append(path)
    queries = {concept: path for _, path, concept in test if concept in shots}
    return {c: shots[c] for c in queries}, queries


def test_episodes(root: Path):
    """Yields the test's episodes with files of the sprites in place of pictures; n, shots, image,
    answer, control."""
    shots, queries = held_out_drawings(root)
    for n in SHOTS:
        rng = random.Random(SEED * 100 + n)
        for _ in range(COUNT):
            concepts = rng.sample(sorted(queries), max(n, 1))
            names = made_up(rng, len(concepts))
            files = [rng.choice(shots[c]) for c in concepts]
            asked = rng.randrange(len(concepts))
            yield {"n": n, "shots": list(zip(files, names))[:n], "image": queries[concepts[asked]],
                   "answer": names[asked],
                   "control": list(zip(shifted(files, rng), names)) if n > 1 else []}


def write(root: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)

    def picture(path: Path) -> str:
        name = f"{path.parent.name}-{path.name}"
        if not (out / name).exists():
            pictures.flat_emoji(path).save(out / name)
        return name

    with open(out / "episodes.jsonl", "w") as f:
        for e in test_episodes(root):
            shots, control = ([{"image": picture(p), "text": name} for p, name in e[k]] for k in ("shots", "control"))
            f.write(json.dumps({"n": e["n"], "shots": shots, "image": picture(e["image"]), "question": QUESTION,
                                "answer": e["answer"], "control_shots": control}) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    args = ap.parse_args()
    write(args.root, args.out)


if __name__ == "__main__":
    main()
