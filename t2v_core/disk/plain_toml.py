"""The settings of a person, as TOML: bounded, and whatever is wrong with it names file, line and what to do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from t2v_core.disk.opening import read_bytes
from t2v_core.errors import InvalidRequest

MOST_BYTES = 2**20


def read_toml(file: Path) -> tuple[str, dict[str, Any]]:
    """Return the text and what it says; nothing for a file that is not there. Raises InvalidRequest."""
    try:
        text = read_bytes(file, MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return "", {}
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(f"{file} line {line}: not UTF-8 text", hint="save it as UTF-8") from error
    except ValueError as error:
        raise InvalidRequest(f"{error}, and no settings", hint="t2v init writes a new one") from error
    try:
        return text, tomllib.loads(text)
    except RecursionError as error:
        raise InvalidRequest(f"{file} is nested too deeply to be settings", hint="write one value a line") from error
    except ValueError as error:  # TOMLDecodeError, and what Python says of a number of thousands of digits
        message, _, place = str(error).partition(" (at ")
        number = re.search(r"line (\d+)", place)
        line = int(number.group(1)) if number else max(1, len(text.splitlines()))
        hint = 'text goes in quotes: device = "cuda"' if message == "Invalid value" else ""
        raise InvalidRequest(f"{file} line {line}: not valid TOML: {message[:1].lower()}{message[1:]}", hint) from error
