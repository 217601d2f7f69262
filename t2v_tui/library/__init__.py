"""What there is to see: checkpoints, videos, data sets, prompts; here and on hosts."""
