"""Training of xpipe's small default models: packages -> pictures -> features -> weights -> bundle."""

SIZE = 160  # pixels a side that the encoder sees
