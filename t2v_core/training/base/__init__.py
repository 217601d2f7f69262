"""What a training goes on from, where it does not begin with random weights: a checkpoint of ours, or an open model."""
