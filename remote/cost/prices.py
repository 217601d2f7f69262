"""What a machine costs an hour, by the dated table in prices.toml, by a file of the user's, or as t2v.toml says."""

from __future__ import annotations

import datetime as dt
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from remote.errors import RemoteError
from t2v_core.disk.plain_toml import read_toml
from t2v_core.errors import InvalidRequest

SHIPPED = Path(__file__).with_name("prices.toml")
HOURS_A_MONTH = 730.0  # as the provider counts

Usd = Annotated[float, Field(ge=0)]
OnDemandAndSpot = Annotated[tuple[Usd, ...], Field(min_length=1, max_length=2)]


class PriceUnknown(RemoteError):
    """No table has a price for that machine."""

    exit_code = 2


class PricedVm(Protocol):
    """What the price of a VM depends on.

    gpus:     (type, count), as nvidia-tesla-t4
    disks_gb: of all its disks together
    address:  its external one; None without
    usd_per_hour: with everything, by its provider's word; None when it does not say
    """

    @property
    def zone(self) -> str:
        """Return the zone, as us-central1-a."""
        ...

    @property
    def machine_type(self) -> str:
        """Return the machine type, as a2-highgpu-1g."""
        ...

    @property
    def gpus(self) -> Sequence[tuple[str, int]]:
        """Return its GPUs as (type, count)."""
        ...

    @property
    def is_spot(self) -> bool:
        """Tell whether it is a spot VM."""
        ...

    @property
    def disks_gb(self) -> float:
        """Return the size of all its disks together, in GB."""
        ...

    @property
    def address(self) -> str | None:
        """Return its external address; None without one."""
        ...

    @property
    def usd_per_hour(self) -> float | None:
        """Return what an hour costs by its provider's word, in US dollars; None when it does not say."""
        ...


@dataclass(frozen=True)
class Price:
    """What an hour costs.

    usd_per_hour:      while it runs, with everything: machine, GPUs, disks, address
    disk_usd_per_hour: of that the disks, which are paid for while it is stopped as well
    is_estimate:       False when t2v.toml says what it costs
    date:              of the figure for the machine, the most of it; None when t2v.toml says it
    parts:             (machine, GPU, disk, address; US dollars an hour)
    note:              a sentence when the table is of another region; may be empty
    """

    usd_per_hour: float
    disk_usd_per_hour: float
    is_estimate: bool
    date: dt.date | None
    parts: tuple[tuple[str, float], ...] = ()
    note: str = ""


class _Dated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    date: dt.date
    source: str


class MachinePrices(_Dated):
    has_gpus_in_price: bool = True
    usd_per_hour: dict[str, OnDemandAndSpot]


class GpuPrices(_Dated):
    usd_per_hour: dict[str, OnDemandAndSpot]


class DiskPrices(_Dated):
    assumed: str
    usd_per_gb_month: dict[str, Usd]

    @model_validator(mode="after")
    def _assumed_has_a_price(self) -> DiskPrices:
        if self.assumed not in self.usd_per_gb_month:
            raise ValueError(f"assumed = {self.assumed!r} is not one of {', '.join(self.usd_per_gb_month)}")
        return self


class AddressPrice(_Dated):
    usd_per_hour: OnDemandAndSpot


class EgressPrices(_Dated):
    usd_per_gb: dict[str, Usd]


class PriceTable(BaseModel):
    """One file of prices; one of the user's may hold any part of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str | None = None
    machines: tuple[MachinePrices, ...] = ()
    gpus: tuple[GpuPrices, ...] = ()
    disks: DiskPrices | None = None
    address: AddressPrice | None = None
    egress: EgressPrices | None = None


def user_prices_file() -> Path:
    """Return `~/.config/t2v/prices.toml`, below XDG_CONFIG_HOME when that is set."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "t2v/prices.toml"


def read_table(path: Path) -> PriceTable:
    """Read a table of prices. Raises InvalidRequest, with file and key, for one that is wrong."""
    try:
        return PriceTable.model_validate(read_toml(path)[1])
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(str(part) for part in wrong["loc"])
        message = wrong["msg"][:1].lower() + wrong["msg"][1:]
        raise InvalidRequest(f"{path}: {key}: {message}", hint=f"write it as in {SHIPPED}") from error


def tables() -> tuple[PriceTable, ...]:
    """Return the user's table, where there is one, and the shipped one; the first that knows a thing is right."""
    own = user_prices_file()
    return (*([read_table(own)] if own.exists() else []), _shipped())


@functools.cache
def _shipped() -> PriceTable:
    return read_table(SHIPPED)


def price_of(vm: PricedVm, *, usd_per_hour: float | None = None, known: Sequence[PriceTable] | None = None) -> Price:
    """Return what an hour of a VM costs.

    Raises PriceUnknown for a machine, GPU or spot price that no table has.

    usd_per_hour: what t2v.toml says it costs while it runs, with everything
    known:        tables, the more important first (default: the user's and ours)
    """
    known = tables() if known is None else known
    disks = _disks(vm, known)
    if usd_per_hour is not None:
        return Price(usd_per_hour, min(disks, usd_per_hour), is_estimate=False, date=None)
    usd, group, table = _machine(vm, known)
    parts = [(vm.machine_type, usd)]
    if not group.has_gpus_in_price:
        parts += [(f"{count} × {name}", _gpu(name, vm.is_spot, known) * count) for name, count in vm.gpus]
    parts += [("disks", disks)] + ([("address", _address(vm.is_spot, known))] if vm.address else [])
    region = vm.zone.rpartition("-")[0]
    is_elsewhere = table.region is not None and region not in ("", table.region)
    return Price(
        sum(cost for _, cost in parts), disks, is_estimate=True, date=group.date, parts=tuple(parts),
        note=f"prices of {table.region}; it is in {region}" if is_elsewhere else "",
    )  # fmt: skip


def _machine(vm: PricedVm, known: Sequence[PriceTable]) -> tuple[float, MachinePrices, PriceTable]:
    for table in known:
        for group in table.machines:
            if vm.machine_type in group.usd_per_hour:
                usd = _of_kind(group.usd_per_hour[vm.machine_type], vm.machine_type, is_spot=vm.is_spot)
                return usd, group, table
    raise _unknown(vm.machine_type or "it")


def _gpu(name: str, is_spot: bool, known: Sequence[PriceTable]) -> float:
    for table in known:
        for group in table.gpus:
            if name in group.usd_per_hour:
                return _of_kind(group.usd_per_hour[name], name, is_spot=is_spot)
    raise _unknown(name)


def _of_kind(prices: tuple[float, ...], name: str, *, is_spot: bool) -> float:
    if not is_spot:
        return prices[0]
    if len(prices) < 2:
        raise _unknown(f"{name} as a spot VM")
    return prices[1]


def _unknown(what: str) -> PriceUnknown:
    return PriceUnknown(
        f"what {what} costs is not known here",
        hint=f"usd_per_hour = … in its [host.NAME], or add it to {_prices_file()}",
    )


def _prices_file() -> str:
    path = user_prices_file()
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def _disks(vm: PricedVm, known: Sequence[PriceTable]) -> float:
    disks = next(table.disks for table in known if table.disks is not None)
    return vm.disks_gb * disks.usd_per_gb_month[disks.assumed] / HOURS_A_MONTH


def _address(is_spot: bool, known: Sequence[PriceTable]) -> float:
    prices = next(table.address.usd_per_hour for table in known if table.address is not None)
    return _of_kind(prices, "an address", is_spot=is_spot)


def egress_usd(size_bytes: int, *, tier: str = "premium", known: Sequence[PriceTable] | None = None) -> float:
    """Return what it costs to bring so many bytes out of the cloud; an estimate.

    tier: premium or standard, as the VM's network is
    """
    prices = (table.egress.usd_per_gb for table in known or tables() if table.egress is not None)
    return size_bytes / 2**30 * next(one[tier] for one in prices if tier in one)
