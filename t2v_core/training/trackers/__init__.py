"""Where the figures of a run go: TensorBoard, wandb, trackio."""
