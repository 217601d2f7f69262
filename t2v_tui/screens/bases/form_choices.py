"""What the form of a video offers: hosts, the checkpoints of this machine, the open models of the form's host."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.message import Message

from t2v_core.errors import EngineError
from t2v_tui.library.on_host import choices_of, models_there
from t2v_tui.library.views import FAST_NAME, SHIPPED_NAME, shown_name
from t2v_tui.store.state import LOCAL, Reach, State
from t2v_tui.widgets.entries import Choice

if TYPE_CHECKING:
    from remote.replies.files import OpenModelEntry
    from t2v_tui.screens.bases.sampling_screen import SamplingScreen
    from t2v_tui.workers.services import Services


class ModelsRead(Message):
    """The open models that a host has."""

    def __init__(self, host: str, models: tuple[OpenModelEntry, ...]) -> None:
        super().__init__()
        self.host, self.models = host, models


class FormChoices:
    """Fills the form of one screen, whose threads these are, and which takes ModelsRead and gives it to `take`."""

    def __init__(self, screen: SamplingScreen) -> None:
        self._screen = screen
        self._has_offered = False
        self._models: dict[str, tuple[OpenModelEntry, ...]] = {}
        self._asked: set[str] = set()  # hosts, for their models

    def offer(self, state: State) -> None:
        """Offer what there is now."""
        self._screen.query_one("#host", Choice).offer([(name, name) for name in state.hosts or (LOCAL,)])
        self._offer_checkpoints()
        self._offer_models(state)

    def take(self, message: ModelsRead) -> None:
        """Keep the open models of a host."""
        self._models[message.host] = message.models

    def _offer_checkpoints(self) -> None:
        """Those that are here; the shipped one first while there is none, as `latest` would only fail."""
        form, here = self._screen.form, self._screen.here
        views = sorted(here.checkpoints, key=lambda view: (view.is_old, -(view.step or view.epoch or 0)))
        named = [(view.path, _checkpoint_word(view.name)) for view in views if view.is_complete]
        entry = form.query_one("#in-checkpoint", Choice)
        choices = [("", "latest"), (SHIPPED_NAME, "shipped"), (FAST_NAME, "shipped fast"), *named]
        if entry.value not in dict(choices):  # it came with a video, and lies elsewhere
            choices.append((entry.value, _checkpoint_word(entry.value.removeprefix("checkpoints/"))))
        form.offer("checkpoint", choices)
        if here.is_read and not self._has_offered:
            self._has_offered = True
            if not named and not entry.value:
                entry.choose(SHIPPED_NAME)

    def _offer_models(self, state: State) -> None:
        """The open models that the form's host has; a host is asked once, when it is heard."""
        host = self._screen.chosen_host
        choices = [("", "a checkpoint"), *choices_of(self._models.get(host, ()))]
        chosen = self._screen.form.query_one("#in-model", Choice).value
        if chosen not in dict(choices):  # it came with a video, and is fetched where it is not
            choices.append((chosen, chosen.rpartition("/")[2]))
        self._screen.form.offer("model", choices)
        is_heard = host == LOCAL or (host in state.hosts and state.hosts[host].link.reach is Reach.UP)
        if (services := self._screen.services) is not None and is_heard and host not in self._asked:
            self._asked.add(host)
            read = partial(self._read_models, services, host)
            self._screen.run_worker(read, group="models", thread=True, exit_on_error=False)

    def _read_models(self, services: Services, host: str) -> None:
        try:
            models = models_there(services.jobs(host))
        except EngineError:  # the link says of itself what there is to say
            return
        self._screen.post_message(ModelsRead(host, models))


def _checkpoint_word(checkpoint: str) -> str:
    """`epoch_20`, as people write it in commands."""
    return shown_name(checkpoint).replace(" ", "_")
