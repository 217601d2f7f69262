"""What a distillation learns from: a trained model and its paths from noise to data."""
