"""Fast checks of flamingo-mini's parts; no pictures and no cache needed."""
import random

import pytest
import torch
from tokenizers import Tokenizer
from xpipe_train import episodes, flamingo
from xpipe_train.flamingo import ANSWER, END, IDS, MEDIA, FlamingoConfig
from xpipe_train.tasks.flamingo import Task


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    t = Task.__new__(Task)
    path = tmp_path_factory.mktemp("tok") / "tokenizer.json"
    flamingo.train_tokenizer(Task.corpus(), path, 1200)
    t.tokenizer, t.memo = Tokenizer.from_file(str(path)), {}
    torch.manual_seed(0)
    t.model = flamingo.blank(FlamingoConfig(vocab=t.tokenizer.get_vocab_size())).eval()
    flamingo.begin(t.model)
    return t


def test_shuffled_pictures_never_keep_their_name():
    rng = random.Random(0)
    for n in range(2, 9):
        for _ in range(20):
            got = episodes.shifted(list(range(n)), rng)
            assert sorted(got) == list(range(n)) and all(i != x for i, x in enumerate(got))


@pytest.mark.parametrize("question", [None, "what is this?"])
def test_an_episode_reads_as_the_pipeline_writes_it(task, question):
    _, ids, targets = task.row([(0, "zudo", False), (1, "my Cat", True)], question)
    asked = ANSWER.format(question) + " " if question else ""
    whole = "".join(f"{MEDIA}{asked}{name}{END}" for name in ("zudo", "my Cat"))
    assert ids == task.tokenizer.encode(whole).ids
    assert [t for t in targets if t >= 0] == [*task.plain("my Cat"), IDS["end"]]
    assert all(t < 0 or t == i for t, i in zip(targets, ids[1:]))


def test_any_name_comes_back_as_it_was(task):
    for name in ("zudo", "Zudo", "my cat", "blue-eyed!", "naïve", "東京"):
        assert task.tokenizer.decode(task.plain(name)).strip() == name


def test_a_token_sees_the_picture_named_last():
    ids = torch.tensor([[5, IDS["media"], 6, IDS["media"], 7, IDS["pad"]]])
    assert flamingo.media_rows(ids, 3).tolist() == [[[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]]


@torch.no_grad()
def test_the_first_weights_bind_names_already(task):
    """Made-up pictures whose drawings differ less than the pictures do: before any training the
    name of the like one is said."""
    rng, right = random.Random(1), {"shots": 0, "control": 0}
    for _ in range(60):
        things = 2.5 * torch.randn(4, 1, flamingo.PART)
        steady = torch.tensor([flamingo.STEADY, -flamingo.STEADY]).expand(8, 49, 2)
        cells = torch.cat(
            [things.repeat(2, 1, 1) + torch.randn(8, 1, flamingo.PART)
             + 2 * torch.randn(8, 49, flamingo.PART), steady], -1)
        names, asked = episodes.made_up(rng, 4), rng.randrange(4)
        for kind, shown in (("shots", [0, 1, 2, 3]), ("control", episodes.shifted([0, 1, 2, 3], rng))):
            rows = [task.row(
                [*((i, name, False) for i, name in zip(shown, names)),
                 (4 + asked, names[asked], True)], None)]
            seen, which, ids, targets = task.padded(rows, cells.numpy())
            got = task.model.lang_encoder.embed_out(flamingo.hidden(task.model, seen, which, ids)).argmax(-1)
            right[kind] += bool(((got == targets) | (targets < 0)).all())
    assert right["shots"] > 20 and right["control"] < 10, right
