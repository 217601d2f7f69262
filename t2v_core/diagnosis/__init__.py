"""What `t2v doctor` looks at. Nothing here imports torch: it must work where the engine is not installed."""
