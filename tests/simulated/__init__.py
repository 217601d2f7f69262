"""A machine on which the agent's own code runs, with a clock, a disk and a process table that obey the test.

kernel.py     processes, their threads and signals, and time that passes when nobody has anything to do
table.py      the process table, as it is read in /proc
disk.py       a disk that gets full, and what a power cut takes
calls.py      what the system is asked for, answered by these two for whatever runs on the machine
engine.py     a training that steps, saves, pauses and stops, behind the engine's own door
world.py      clients that ask the agent, and what really happened
programs.py   the agent begun once more: a supervisor, the guard
inside.py     the agent's modules, asking this machine and not the real one
promises.py   what must hold after every step
schedule.py   random schedules of steps, and the shortest one that fails
"""
