"""One TOML file per recipe: per value what the paper says, what the official code says, what is used."""
