"""The screens: one file and one `.tcss` each. This is how one plugs in.

**Registered** by a line in `SCREENS` of registry.py: its name, digit, titles, and `module:Class`. It is imported when
it is shown first, so a screen may import what it needs; still never torch, numpy, google or paramiko.

**Made** as a child of `Cockpit` (screens/bases/base.py), which brings headline, tabs, footer and the keys:

    class VideosScreen(Cockpit):
        NAME = "videos"                         # as in SCREENS and in keys.py
        CSS_PATH = "videos.tcss"
        BINDINGS = bindings_for("videos")       # the rows of keys.py whose `where` is "videos"

        def body(self) -> ComposeResult:        # everything between tabs and footer
            yield Gallery()

        def show(self, state: State, now_t: float) -> None:      # draw it: with every change, at most 10 times a
            self.query_one(Gallery).show(...)                    # second, once a second, and when it comes up

        def arrive(self, arrival: object) -> None:               # GoTo("vid2vid", Path(...)) hands the path over
            ...

**State**: `show` is given all of it (store/state.py); `self.cockpit.state` is the same. It is frozen: never kept, never
changed. What no state has (the list of its files) a screen reads in a worker of its own and keeps itself.

**Services**: `self.cockpit.services` (workers/services.py) talks to hosts and files. Every method blocks: call them in
`@work(thread=True, exclusive=True, group=…, exit_on_error=False)` methods only, whose last line posts one message to
the screen. No widget is touched in a thread. Errors are EngineError with `message` and `hint`: post `Failed(…)`, and
the app shows them. In tests of what is drawn `services` is None, and nobody is asked.

**Asking**: post a message of messages.py, and the app does it: GoTo, StartWork (a verb and its settings as a job on a
host, through every step to it; a drawer at the screen's foot shows them, and `has_started` takes the job), StopWork,
ShowJob, FollowJob (its events then come into `state.runs[key]`), Failed.

**Keys**: one row in keys.py each, with the screen's or the pane's name as `where`; actions are methods `action_…` of
the screen, or of the widget that has `PANE = "…"`. Rows with `writes=True` do nothing with `--read-only`: that is
looked after. Keys of lists (j k g G) are in widgets/rows.py.
"""
