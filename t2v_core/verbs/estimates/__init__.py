"""`t2v estimate`: what work will take, said before it takes it."""
