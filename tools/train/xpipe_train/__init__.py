"""Training of xpipe's small default models: packages -> pictures -> features -> weights ->
bundle."""

SIZE = 224  # pixels a side that the encoder sees
