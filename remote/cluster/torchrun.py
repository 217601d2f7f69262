"""The line that starts one job on several machines, whoever gives each machine its place in it."""

from __future__ import annotations

# What several processes can share; anything else runs on one machine, with --host.
SHARED_VERBS = ("train", "preprocess", "evaluate")
PORT = 29500


def torchrun_line(python: str, verb: str, job: str, *, nodes: str, processes: str, place: str) -> str:
    """Return torchrun's command, over several lines. Its parts are shell words, quoted where they need it.

    python: interpreter of the environment that has the engine; job: folder of the job, below the workspace
    nodes, processes: machines, and processes on each; place: how each machine finds the others
    It starts nothing again by itself: a job that was asked to stop would begin anew. The launcher does.
    """
    return (
        f"{python} -m torch.distributed.run --nnodes={nodes} --nproc-per-node={processes} \\\n"
        f"  {place} --max-restarts=0 \\\n"
        f"  -m t2v_core {verb} {job}"
    )
