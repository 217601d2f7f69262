"""One run's losses as a curve draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from t2v_tui.widgets.curve.series import Averaged, Series


@dataclass(frozen=True)
class Run:
    """One run's losses. steps rise, but for a resumed run, which says some again; held_out: (step, loss)"""

    name: str
    steps: Sequence[float] = ()
    losses: Sequence[float] = ()
    held_out: Sequence[tuple[float, float]] = ()
    checkpoints: Sequence[float] = ()
    samples: Sequence[float] = ()


@dataclass
class Track:
    """A run as it is drawn; `follow` takes in only what was added."""

    run: Run
    loss: Averaged = field(default_factory=Averaged)
    held_out: Series = field(default_factory=Series)
    _taken: int = 0
    _held_out_taken: int = 0

    def follow(self, run: Run) -> bool:
        """Take in what was added; return False when this is not the same run with more at its end."""
        taken = self._taken
        if len(run.steps) < taken or (taken and run.steps[taken - 1] != self.run.steps[taken - 1]):
            return False
        self.loss.extend(zip(run.steps[taken:], run.losses[taken:], strict=True))
        self.held_out.extend(run.held_out[self._held_out_taken :])
        self.run, self._taken, self._held_out_taken = run, len(run.steps), len(run.held_out)
        return True

    @classmethod
    def of(cls, run: Run) -> Track:
        """Return a track that has taken in all of a run."""
        track = cls(run)
        track.follow(run)
        return track

    @property
    def parts(self) -> tuple[Series, Series, Series]:
        """Return each step's own loss, its average, and the held-out loss."""
        return self.loss.raw, self.loss.average, self.held_out
