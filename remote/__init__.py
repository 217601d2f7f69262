"""Where work runs: jobs and hosts. No tensors, no widgets."""
