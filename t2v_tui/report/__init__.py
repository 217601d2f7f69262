"""`t2v report`: a training, or several side by side, as one HTML file that needs nothing else."""
