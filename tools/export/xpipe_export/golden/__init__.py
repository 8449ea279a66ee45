"""The tiny models and expected outputs under testdata/families: `python -m xpipe_export.golden`.

Real transformers classes at small sizes with seeded random weights, exported by the
exporter itself; the expected outputs come from transformers, end to end.
"""
