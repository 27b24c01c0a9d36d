"""One TOML file per split: where its list stands, how many samples it has, the hash that proves it."""
