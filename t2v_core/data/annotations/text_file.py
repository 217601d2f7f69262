"""Text that some program wrote: UTF-8, or UTF-16 and UTF-32 by their signs. Anything else is asked for, not guessed."""

from __future__ import annotations

import codecs
from pathlib import Path

from t2v_core.disk.opening import MOST_TABLE_BYTES, read_bytes
from t2v_core.errors import InvalidRequest

# UTF-32 first: its mark begins as UTF-16's does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
NOT_TEXT = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "save the sheet as CSV UTF-8, or unpack it"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV UTF-8"),
    b"\x1f\x8b": ("compressed", "gunzip it"),
    b"SQLite format 3": ("a database", "export the table as CSV"),
}
# What Excel and Notepad of a Western Windows write where they do not write UTF.
LIKELY = "cp1252"
SAMPLE_BYTES = 4096


def read_text(file: Path, encoding: str | None = None) -> str:
    """Read the text of a file, without broken characters: half of a pair of surrogates becomes U+FFFD.

    encoding: of a file that is neither UTF-8 nor marked as something else
    Raises InvalidRequest when it cannot be read or is no text in that encoding, naming the line.
    """
    try:
        data = read_bytes(file, MOST_TABLE_BYTES)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}", hint="fix its permissions") from error
    for sign, (what, hint) in NOT_TEXT.items():
        if data.startswith(sign):
            raise InvalidRequest(f"{file} is {what}, not text", hint=hint)
    text = _decoded(file, data, encoding)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InvalidRequest(f"{file} is damaged: line {line} holds zero bytes", hint="fetch it again, whole")
    return text


def _decoded(file: Path, data: bytes, encoding: str | None) -> str:
    recognised = _recognised(data)
    try:
        return whole_characters(data.decode(recognised or "utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        if encoding is None or recognised:
            raise _not_decoded(file, data, error, recognised) from error
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_decoded(file, data, error, encoding) from error


def whole_characters(text: str) -> str:
    """Put U+FFFD for each half of a pair of surrogates; halves that meet are one character again.

    JSON may hold half an emoji, as `\\ud83d`: no encoder takes it, and no file can.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def require_encoding(name: str) -> str:
    """Return `name`, when Python knows it as an encoding of text. Raises InvalidRequest."""
    try:
        "a".encode(name)
    except (LookupError, ValueError) as error:  # hex and its like are no encodings of text; "undefined" is one of none
        raise InvalidRequest(
            f"there is no text encoding {name!r}", hint="cp1252, latin-1, cp1251, gb18030, shift_jis, big5, …"
        ) from error
    return name


def _recognised(data: bytes) -> str | None:
    """By the mark at its beginning; UTF-16 without one by the zero that every other byte of plain letters is."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return encoding
    sample = data[:SAMPLE_BYTES]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) <= len(sample) // 8 or min(even, odd) * 8 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _not_decoded(file: Path, data: bytes, error: UnicodeDecodeError, encoding: str | None) -> InvalidRequest:
    number = data[: error.start].count(b"\n") + 1
    if encoding is not None:
        return InvalidRequest(f"{file} is not {encoding} text: line {number}: {error.reason}", hint="save it as UTF-8")
    line = data.split(b"\n")[number - 1].decode(LIKELY, "replace").strip()
    shown = line if len(line) <= 60 else f"{line[:60]}…"
    return InvalidRequest(
        f"{file} is not UTF-8 text: line {number} has the byte 0x{data[error.start]:02x}",
        hint=f"save it as UTF-8; or, where {shown!r} is what line {number} should say: "
        f"t2v data manifest --encoding {LIKELY} (or whatever encoding it has)",
    )
