"""Small models, checkpoints and data sets, and the engine run on them."""
