"""LoRA: small matrices beside a model's own, trained while those stay: made, written, read and put to use."""
