"""What runs on a host: it starts jobs, looks after them, and says what became of them.

Standard library only, Python 3.9 or newer; the whole folder travels under one sha256 (`bundle.py`). The command line
is constant; everything that somebody chose arrives as JSON on stdin, so no prompt and no path ever stands on a command
line or meets a shell.

A job is a directory `jobs/<id>/`: spec.json, request.json (what to start), lock (held by the supervisor for life),
state.json (pid, its start time, boot id), log, events.jsonl, exit.json; `stop`, `save`, `pause` are requests to it.
"""
