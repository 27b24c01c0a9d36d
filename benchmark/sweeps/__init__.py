"""One TOML file per sweep: the rows and columns of a published table, and what is trained for each row."""
