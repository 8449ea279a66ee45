"""Makes donut.json: what token2json of transformers' DonutProcessor makes of markup: python donut.py"""

import json
from pathlib import Path

from transformers import DonutProcessor

CLASSES = {"<paid/>": 1, "<a b/>": 2}
TEXTS = [
    "",
    "plain text",
    " <s_a> one </s_a> ",
    "<s_menu><s_nm>Tea</s_nm><s_price>1</s_price><sep/><s_nm>Cake</s_nm><s_price>2</s_price></s_menu><s_total>3</s_total>",
    "<s_menu><s_nm>Tea</s_nm></s_menu>",
    "<s_a>x<sep/> y <sep/></s_a>",
    "<s_a>1</s_a><sep/><s_a>2</s_a>",
    "<s_a>1</s_a><sep/>rest",
    "<s_a>1</s_a><sep/>",
    "<s_class><paid/></s_class><s_other><unknown/></s_other><s_two><a b/><sep/>z</s_two>",
    "<s_open>never closed",
    "<s_open><s_in>v</s_in>",
    "</s_a>late<s_a>v</s_a><s_b>w</s_b>",
    "<s_a>v</s_a>tail text<s_b>w</s_b>",
    "<S_a>v</S_A>",
    "<s_a><s_b></s_b></s_a>",
    "<s_a><s_b></s_a></s_b>",
    "<s_a></s_a>",
    "<s_a.b*>v</s_a.b*>",
    "<s_>v</s_>",
    "text <s_a",
    "<s_a>é 中\n zwei</s_a>",
    "<s_a>1</s_a><s_a>2</s_a>",
    "<s_a><s_a>1</s_a></s_a>",
    "<s_a><s_b><s_c>1</s_c><sep/><s_c>2</s_c></s_b></s_a>",
    "<s_a>1<s_b>2</s_a>3</s_b>",
]


def main():
    read = DonutProcessor.token2json
    self = type("Processor", (), {})()
    self.token2json = lambda *a, **k: read(self, *a, **k)
    made = [{"text": t, "fields": self.token2json(t, added_vocab=CLASSES)} for t in TEXTS]
    (Path(__file__).parent / "donut.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
