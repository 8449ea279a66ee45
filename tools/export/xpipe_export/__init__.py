"""Hugging Face vision-language checkpoints to xpipe bundles of ONNX graphs.

`graph` makes one verified graph from one torch module, `bundle` writes the
directory around the graphs, `families` holds the wrappers and the layout of each
model family, `cli` is the command, `golden` makes the tiny models and the
expected outputs under testdata/families. What a bundle holds is in
../../models/BUNDLE.md.
"""

__version__ = "0.1.0"
