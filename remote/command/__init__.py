"""A machine that three commands of t2v.toml look at, start and stop: any cloud's, or one at home."""
