"""One TOML file per data set: what it is, its licence, where to ask, how it is laid out, its official files."""
