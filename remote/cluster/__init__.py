"""Launchers of clusters: what Slurm and SkyPilot are given so that they run a job of ours on many machines."""
