"""What the app asks of hosts, with the bench's far host among them."""

from __future__ import annotations

from typing import Any

from support.hosts.far_host import Far
from t2v_core.workspace import Workspace
from t2v_tui.workers.services import Services


class FarServices(Services):
    """Hosts as the bench has them: their pinned keys are not those of this user."""

    def __init__(self, workspace: Workspace, far: Far) -> None:
        super().__init__(workspace)
        self.far = far

    def host(self, name: str) -> Any:
        return self.far.host() if name == "vm" else super().host(name)
