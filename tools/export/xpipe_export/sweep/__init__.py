"""A sweep over checkpoints that nobody wrote by hand: random small ones of every family, saved by one
version of transformers or another, whose bundles must answer as that version does."""
