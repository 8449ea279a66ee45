"""Training of xpipe's small default models: packages -> pictures -> features -> weights -> bundle."""
