"""Jobs: started, followed, stopped; how they stand, how they ended, and what a preemption leaves."""
