"""`t2v slurm` and `t2v sky`: a job for a launcher of a cluster."""
