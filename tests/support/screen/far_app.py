"""The terminal UI over a workspace with a host: started, told to work there, and closed with all that it asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from textual.pilot import Pilot

from support.hosts.far_host import Far
from support.hosts.far_services import FarServices
from support.screen.in_terminal import eventually
from t2v_tui.app import CockpitApp

App = TypeVar("App", bound=CockpitApp)


@asynccontextmanager
async def app_with_host(
    far: Far, first: str, kind: type[App], *, works_there: bool = True
) -> AsyncIterator[tuple[Pilot[Any], App]]:
    """first: the screen that it begins with; works_there: the host is the chosen one"""
    services = FarServices(far.here, far)
    app = kind(far.here, services=services, first=first)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await eventually(pilot, lambda: "vm" in app.state.hosts)
            if works_there:
                app.choose_host("vm")
            yield pilot, app
    finally:
        services.close()
