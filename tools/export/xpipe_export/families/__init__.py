"""One module a family: the wrappers that become graphs, and the bundle each family makes."""
