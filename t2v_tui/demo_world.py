"""The built-in world as the demo makes it, for `t2v demo` and for the terminal UI."""

from __future__ import annotations

CLIPS, TEST_CLIPS = 648, 108
ENCODERS = {"vae": "embedded", "text_encoder": "embedded"}
PICTURES = {"frames": 8, "size": 64}
