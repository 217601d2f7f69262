"""Every question that an agent can be asked, with its reply."""

from __future__ import annotations

from dataclasses import dataclass

from remote.replies.files import (
    Entries,
    FileBytes,
    FilePreview,
    FolderListing,
    OldCheckpoints,
    OldData,
    OpenModels,
    Removed,
)
from remote.replies.guard import Guard, GuardStands, NoGuard
from remote.replies.jobs import JobRows, ResumedJobs, Started, Stopped
from remote.replies.machine import Examination, Hello, Probe, Sent, Standing
from remote.replies.meeting import Meeting, Reached
from remote.replies.question import Question
from remote.replies.transfer import FileSums, FullOffer, Landed, SameOffer, WantedFiles


@dataclass(frozen=True)
class Done:
    """It was done, and there is nothing more to say."""


HELLO = Question("hello", Hello)
PROBE = Question("probe", Probe)
STANDING = Question("standing", Standing)
EXAMINE = Question("examine", Examination)
ADOPT_VENV = Question("adopt_venv", Done)
PUT = Question("put", Sent)
UNPACK_RELEASE = Question("unpack_release", Done)
USE_RELEASE = Question("use_release", Done)
MEETING = Question("meeting", Meeting)
REACH = Question("reach", Reached)
PART = Question("part", Done)

START = Question("start", Started)
STATUS = Question("status", JobRows)
STOP = Question("stop", Stopped)
REQUEST = Question("request", Done)
RESUME_PREEMPTED = Question("resume_preempted", ResumedJobs)

GUARD: Question[NoGuard | GuardStands] = Question("guard", Guard)
KEEP: Question[NoGuard | GuardStands] = Question("keep", Guard)
INSTALL_GUARD: Question[NoGuard | GuardStands] = Question("install_guard", Guard)

LS = Question("ls", Entries)
LIST = Question("list", FolderListing)
READ = Question("read", FileBytes)
PREVIEW = Question("preview", FilePreview)
OLD_CHECKPOINTS = Question("old_checkpoints", OldCheckpoints)
OLD_DATA = Question("old_data", OldData)
MODELS = Question("models", OpenModels)
REMOVE = Question("remove", Removed)

OFFER: Question[SameOffer | FullOffer] = Question("offer", SameOffer | FullOffer)
SUMS = Question("sums", FileSums)
WANT = Question("want", WantedFiles)
BEGIN = Question("begin", Done)
LAND = Question("land", Landed)
COPY = Question("copy", Landed)
REMOVE_GONE = Question("remove_gone", Removed)
