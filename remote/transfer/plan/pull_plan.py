"""What a pull would bring, before it brings it: how much, how long, for how much money, and whether it fits."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath

from remote.agent.transfer.parts import journal_path, merged, part_path, read_journal, tidy
from remote.errors import DiskFull, HostUnreachable, Refused
from remote.host_factory import egress_usd
from remote.jobs.client import HostJobs
from remote.replies.question import bad_reply
from remote.replies.questions import OFFER, SUMS
from remote.replies.transfer import FarFile, FullOffer, OfferedUnit, SameOffer
from remote.text import shown
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.names import folds_case
from remote.transfer.plan.offered import CHECKPOINTS, Offer, Unit, lies_in, read_offer
from remote.transfer.plan.twins import Twins, twins_of
from t2v_core.disk.files import MANIFEST, sha256
from t2v_core.errors import InvalidRequest
from t2v_core.format import counted, size
from t2v_core.workspace import Workspace

OFFER_TIMEOUT_S = 120.0
SUMS_TIMEOUT_S, SLOW_HASH_BYTES_PER_S = 60.0, 30e6
MARGIN_BYTES = 10_000_000  # a disk that is full to the last byte stops everything else on it
WORDS = {"checkpoints": CHECKPOINTS, "videos": "outputs"}
OF_A_CHECKPOINT = re.compile(r"checkpoint_(epoch|step)_\d+(\.pt)?|final_model\.pt")
UNIT_MARK = ".unit"


class ItemStatus(StrEnum):
    """HERE: already, whole; NEEDED: to be sent; OTHER: something else of that name is here, which is not ours."""

    HERE = "here"
    NEEDED = "needed"
    OTHER = "other"


@dataclass(frozen=True)
class PlanItem:
    """One unit and how it stands here.

    to_send: bytes, without those that an earlier try brought, and without copied
    twins:   files of it whose bytes are here under another name; copied: how many bytes those are
    """

    unit: Unit
    standing: ItemStatus
    to_send: int
    twins: Twins = field(default_factory=dict)

    @property
    def copied(self) -> int:
        """Return the bytes that are copied from other names here."""
        return sum(file.size for file in self.unit.files if file.name in self.twins)

    @property
    def path(self) -> PurePosixPath:
        """Return the unit's path, relative to the workspace."""
        return self.unit.path


@dataclass(frozen=True)
class Plan:
    """items:       in the order in which they come
    passed_over: (what, why): not finished, or no file; unsafe: the same for names that are refused
    absent:      what was asked for and is not there

    seconds: at the rate of the last transfer; None when there was none
    usd:     for egress, estimated; None for a host that bills none
    is_anyones: what another workspace made, which shares the folder there, comes as well
    """

    host: str
    asked: tuple[str, ...]
    items: tuple[PlanItem, ...]
    passed_over: tuple[tuple[str, str], ...]
    unsafe: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    programs: tuple[str, ...]
    free_bytes: int
    seconds: float | None
    usd: float | None
    there: str = ""
    is_anyones: bool = False

    @property
    def needed(self) -> tuple[PlanItem, ...]:
        """Return the items that have to come."""
        return tuple(item for item in self.items if item.standing is ItemStatus.NEEDED)

    @property
    def to_send(self) -> int:
        """Return the bytes that have to come, without those that an earlier try brought."""
        return sum(item.to_send for item in self.needed)

    @property
    def copied(self) -> int:
        """Return the bytes that need not come, since they are here under another name."""
        return sum(item.copied for item in self.needed)

    @property
    def fits(self) -> bool:
        """Tell whether the disk here has room for it, and a margin."""
        to_write = self.to_send + self.copied
        return to_write == 0 or self.free_bytes >= to_write + MARGIN_BYTES

    @property
    def turns(self) -> tuple[Plan, ...]:
        """Return it in parts, of which the second copies files that the first brings."""
        late = tuple(item for item in self.needed if not all(path.exists() for path in item.twins.values()))
        if not late:
            return (self,)
        early = tuple(item for item in self.needed if item not in late)
        return replace(self, items=early), replace(self, items=late)

    def require_space(self, workspace: Workspace) -> None:
        """Check the disk. Raises DiskFull before anything is sent that it cannot hold."""
        if not self.fits:
            whole, free = size(self.to_send + self.copied), size(self.free_bytes)
            raise DiskFull(
                f"{whole} would be pulled to {workspace.root}, which has {free} free",
                hint="free some space, or pull less: t2v pull checkpoints --latest",
            )


def asked_paths(what: Sequence[str]) -> list[str]:
    """Return `checkpoints`, `videos`, names of checkpoints and paths as paths of the workspace there.

    Raises InvalidRequest for what is no such path.

    `checkpoints NAME` means that one alone.
    """
    paths = []
    names = [word for word in what if OF_A_CHECKPOINT.fullmatch(word)]
    for word in what:
        if word == CHECKPOINTS and names:
            continue
        path = f"{CHECKPOINTS}/{word}" if word in names else WORDS.get(word, word).rstrip("/") or "."
        parts = PurePosixPath(path).parts
        if path.startswith(("/", "~")) or ".." in parts or "\0" in path:
            raise InvalidRequest(
                f"{shown(word)} is not a path in the workspace there", "write it relative to its root: data/clips"
            )
        paths.append(str(PurePosixPath(path)))
    return paths


def plan_pull(
    jobs: HostJobs,
    what: Sequence[str],
    *,
    is_latest: bool = False,
    is_replacing: bool = False,
    is_anyones: bool = False,
) -> Plan:
    """Ask the host what it has, and return what a pull would bring.

    One round trip. When nothing has changed there since it was asked last, the answer is a line.

    what:         `checkpoints`, `videos` or paths of the workspace there
    is_latest:    of the checkpoints only the newest
    is_replacing: what is here under the same name and did not come from there gives way
    is_anyones:   also what another workspace made there; else it is passed over
    Raises HostUnreachable, Refused when nothing of that is there, InvalidRequest.
    """
    workspace, asked = jobs.workspace, asked_paths(what)
    memory = ArrivedFiles(workspace, jobs.host.name)
    offer = _offer(jobs, memory, asked, is_anyones=is_anyones)
    if len(offer.absent) == len(asked):
        there = f"{jobs.host.name}:{shown(offer.workspace)}"
        raise Refused(f"there is no {' and no '.join(offer.absent)} in {there}", "t2v jobs says what ran there")
    units, staying = (_latest_only(offer.units), ()) if is_latest else _without_old(offer.units, asked)
    sums = _asked_sums(jobs, [unit for unit in units if _may_be_the_same(unit, workspace, memory)])
    items = _with_twins([_item(unit, workspace, memory, sums, is_replacing=is_replacing) for unit in units], workspace)
    to_send = sum(item.to_send for item in items if item.standing is ItemStatus.NEEDED)
    rate = memory.bytes_per_s()
    return Plan(
        host=jobs.host.name, asked=tuple(asked), items=items,
        passed_over=(*offer.passed_over, *staying), unsafe=offer.unsafe, absent=offer.absent,
        programs=offer.programs, there=offer.workspace, free_bytes=free_bytes(workspace.root),
        seconds=to_send / rate if rate else None, usd=egress_usd(jobs.host.settings, to_send),
        is_anyones=is_anyones,
    )  # fmt: skip


def _offer(jobs: HostJobs, memory: ArrivedFiles, asked: list[str], *, is_anyones: bool) -> Offer:
    """What is there now; when nothing has changed, it was read already while the answer was on its way."""
    known, folds = memory.last_offer(asked), folds_case(jobs.workspace.root)
    with ThreadPoolExecutor(1, "offer") as pool:
        asking = pool.submit(_asked_there, jobs, memory, asked, known, is_anyones)
        offer = read_offer(known, asked, folds_case=folds) if known is not None else None
        said = asking.result()
    return offer if said is known and offer is not None else read_offer(said, asked, folds_case=folds)


def _asked_there(
    jobs: HostJobs, memory: ArrivedFiles, asked: list[str], known: FullOffer | None, is_anyones: bool
) -> FullOffer:
    try:
        digest = known.digest if known else None
        said = jobs.ask(OFFER, timeout_s=OFFER_TIMEOUT_S, paths=asked, known=digest, is_anyones=is_anyones)
    except HostUnreachable:
        if units := _in_the_bucket(jobs, memory, asked):
            return FullOffer("", units)
        raise
    if isinstance(said, SameOffer):
        if known is None:
            raise bad_reply(jobs.host.name, OFFER.name, "nothing was known that it could be the same as")
        return known
    memory.keep_offer(asked, said)
    return said


def _in_the_bucket(jobs: HostJobs, memory: ArrivedFiles, asked: list[str]) -> tuple[OfferedUnit, ...]:
    """The units that the host has uploaded, which need it no more."""
    if jobs.host.settings.transfer != "bucket":
        return ()
    return tuple(unit for unit in memory.uploaded_units() if any(lies_in(unit.path, path) for path in asked))


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that `folder` is on, or would be on once it is made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def _latest_only(units: Sequence[Unit]) -> list[Unit]:
    """Of the checkpoints the newest, by its step and not by anybody's clock; all that is none.

    The previous system's count where there is no other.
    """
    checkpoints = [unit for unit in units if unit.path.parts[0] == CHECKPOINTS and unit.is_sealed]
    checkpoints = checkpoints or [unit for unit in units if unit.is_old_checkpoint]
    newest = max(checkpoints, key=lambda unit: (unit.order, str(unit.path)), default=None)
    return [unit for unit in units if unit.path.parts[0] != CHECKPOINTS or unit is newest]


def _without_old(units: Sequence[Unit], asked: Sequence[str]) -> tuple[Sequence[Unit], tuple[tuple[str, str], ...]]:
    """Without the previous system's checkpoints, unless one was named: 100 of them are 200 GB. And a word on that."""
    if not {CHECKPOINTS, "."} & set(asked):
        return units, ()
    old = [unit for unit in units if unit.is_old_checkpoint and str(unit.path) not in asked]
    if not old:
        return units, ()
    newest = max(old, key=lambda unit: unit.order)
    why = (
        f"{counted(len(old), 'checkpoint')} of the previous system, {size(sum(unit.size for unit in old))}, stay "
        f"there; name the one that is to come (t2v pull {newest.path.name}), or take the newest with --latest where "
        "there is no other"
    )
    kept = set(old)
    return [unit for unit in units if unit not in kept], ((f"{CHECKPOINTS}/*.pt", why),)


def _may_be_the_same(unit: Unit, workspace: Workspace, memory: ArrivedFiles) -> bool:
    """A file of the same size is here, of which nothing is known."""
    place = workspace.root / unit.path
    is_file = not unit.is_sealed and place.is_file() and memory.came_as(unit.path) is None
    return is_file and unit.files[0].sha256 is None and place.stat().st_size == unit.size


def _asked_sums(jobs: HostJobs, units: Sequence[Unit]) -> dict[str, str]:
    """sha256 by path, taken there now; of files that have changed since they were offered none."""
    if not units:
        return {}
    timeout_s = SUMS_TIMEOUT_S + sum(unit.size for unit in units) / SLOW_HASH_BYTES_PER_S
    said = jobs.ask(SUMS, timeout_s=timeout_s, paths=[str(unit.path) for unit in units])
    return {file.path: file.sha256 for file in said.files if file.sha256}


def _item(
    unit: Unit, workspace: Workspace, memory: ArrivedFiles, sums: dict[str, str], *, is_replacing: bool
) -> PlanItem:
    standing = item_status(unit, workspace, memory)
    said = sums.get(str(unit.path))
    if standing is ItemStatus.OTHER and said is not None and sha256(workspace.root / unit.path) == said:
        memory.note(unit.path, unit.identity)
        memory.close()
        standing = ItemStatus.HERE
    if standing is ItemStatus.OTHER and is_replacing:
        standing = ItemStatus.NEEDED
    if standing is ItemStatus.HERE:
        for file in unit.files:
            tidy(workspace.root / unit.path / file.name if unit.is_sealed else workspace.root / unit.path)
    return PlanItem(unit, standing, unit.size - already_here(unit, workspace) if standing is ItemStatus.NEEDED else 0)


def _with_twins(items: Sequence[PlanItem], workspace: Workspace) -> tuple[PlanItem, ...]:
    """The items with what of them is here under another name; one that an earlier try began goes on as it was."""
    fresh = [item for item in items if item.standing is ItemStatus.NEEDED and item.to_send == item.unit.size]
    found = dict(zip([item.path for item in fresh], twins_of([item.unit for item in fresh], workspace), strict=True))
    changed = [replace(item, twins=found.get(item.path, {})) for item in items]
    return tuple(replace(item, to_send=item.to_send - item.copied) for item in changed)


def item_status(unit: Unit, workspace: Workspace, memory: ArrivedFiles) -> ItemStatus:
    """Return how a unit stands here, by what is on the disk; nothing large is read."""
    place = workspace.root / unit.path
    if not place.is_symlink() and not place.exists():
        return ItemStatus.NEEDED
    if place.is_dir() != unit.is_sealed:
        return ItemStatus.OTHER
    if unit.is_sealed and _holds(place, unit):
        return ItemStatus.HERE
    came_as = memory.came_as(unit.path)
    if came_as == unit.identity and not unit.is_sealed:
        return ItemStatus.HERE
    if came_as is not None:
        return ItemStatus.NEEDED
    file = unit.files[0]
    is_same = not unit.is_sealed and file.sha256 is not None and place.stat().st_size == file.size
    return ItemStatus.HERE if is_same and sha256(place) == file.sha256 else ItemStatus.OTHER


def _holds(place: Path, unit: Unit) -> bool:
    """A folder with the same manifest, and all its files in their sizes."""
    try:
        if hashlib.sha256((place / MANIFEST).read_bytes()).hexdigest() != unit.identity:
            return False
        return all((place / file.name).stat().st_size == file.size for file in unit.files)
    except OSError:
        return False


def staging_of(unit: Unit, root: Path) -> Path:
    """Return the folder in which a folder is put together; of a file, where it goes itself."""
    return part_path(root / unit.path) if unit.is_sealed else root / unit.path


def target_of(unit: Unit, file: FarFile, root: Path) -> Path:
    """Return where a file of a unit is put before the unit is whole."""
    return staging_of(unit, root) / file.name if unit.is_sealed else root / unit.path


def is_staged_for(unit: Unit, root: Path) -> bool:
    """Tell whether what lies in the staging folder is of this very content."""
    try:
        return (staging_of(unit, root) / UNIT_MARK).read_text() == unit.identity
    except OSError:
        return False


def already_here(unit: Unit, workspace: Workspace) -> int:
    """Return the bytes that an earlier try brought."""
    if unit.is_sealed and not is_staged_for(unit, workspace.root):
        return 0
    return sum(_staged_bytes(unit, file, workspace.root) for file in unit.files)


def _staged_bytes(unit: Unit, file: FarFile, root: Path) -> int:
    target = target_of(unit, file, root)
    if unit.is_sealed and target.is_file():
        return file.size
    if not part_path(target).exists():
        return 0
    known = read_journal(journal_path(target), file.identity, file.size)
    return sum(end - begin for begin, end in merged(known or ()))
