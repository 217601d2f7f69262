"""Asks Compute Engine by way of a helper process, which is started once, kept warm, and started again when it died."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from remote.errors import AgentError, CloudError, CloudUnreachable, LinkLost, NotAnswered
from remote.gce.errors import Answer, error_of_trouble, may_pass
from remote.hosts.agent_client import Agent, ProcessChannel
from t2v_core.disk.typed_json import read_as

NAME = "Compute Engine's client"
HELPER = Path(__file__).with_name("helper.py")
# The first answer waits for an import that took 12 s from a cold disk, and for gcloud when it has to say who we are.
ANSWER_TIMEOUT_S = 75.0
# Between the attempts at a question that found the API busy or a connection stale.
PAUSES_S = (0.3, 1.5)
SLOW_S = 5.0  # what fails only after so long is a network that swallows packets, and no passing trouble


class ComputeClient:
    """Any thread may ask; a slow answer holds up no other.

    env: of the helper; T2V_COMPUTE_ENDPOINT in it is another server to ask
    """

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = env
        self._agent: Agent | None = None
        self._lock = threading.Lock()

    def ask(self, verb: str, **parameters: Any) -> dict[str, Any]:
        """Call the API once, again after a trouble that may pass. Raises CloudError or one of its kinds.

        A question may reach the API twice. That is harmless: those that change something carry a request id.
        """
        for pause_s in PAUSES_S:
            began = time.monotonic()
            try:
                return self._asked(verb, parameters)
            except CloudError as error:
                if not may_pass(error) or time.monotonic() - began > SLOW_S:
                    raise
            time.sleep(pause_s)
        return self._asked(verb, parameters)

    def _asked(self, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            said = self._helper().call(verb, timeout_s=ANSWER_TIMEOUT_S, **parameters)
        except NotAnswered as error:
            self.close()
            sentence = f"Google Cloud does not answer within {ANSWER_TIMEOUT_S:.0f} s"
            raise CloudUnreachable(sentence, "is this machine online?") from error
        except (LinkLost, AgentError) as error:
            raise CloudUnreachable(f"the Compute Engine client ended: {error.message}", "ask again") from error
        if (trouble := read_as(Answer, said).trouble) is not None:
            raise error_of_trouble(trouble)
        return said

    def _helper(self) -> Agent:
        with self._lock:
            if self._agent is None or not self._agent.is_up:
                if self._agent is not None:
                    self._agent.close()
                argv = [sys.executable, "-P", "-X", "utf8", str(HELPER)]
                environment = os.environ if self._env is None else self._env
                self._agent = Agent(ProcessChannel(argv, name=NAME, env=environment), NAME)
            return self._agent

    def close(self) -> None:
        """End the helper; the next question starts another."""
        with self._lock:
            if self._agent is not None:
                self._agent.close()
                self._agent = None


@cache
def compute() -> ComputeClient:
    """Return the one client of this process."""
    return ComputeClient()
