"""Values that nobody means: texts, numbers and values of TOML, each by a name that can be printed.

A command line is bytes: what is none of UTF-8 reaches a program as lone surrogates, and NUL cannot reach it at all.
"""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "empty": "",
    "blank": "   ",
    "a newline": "two\nlines",
    "a carriage return": "over\rdrawn",
    "an escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "bytes that are no UTF-8": "caf\udce9",
    "right to left": "\u202egnp.exe\u2066",
    "300 accents on a letter": "e" + "\u0301" * 300,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "10,000 characters": "long " * 2000,
    "300 letters": "x" * 300,
    "a dash": "-",
    "two dashes": "--",
    "an option": "--no-such-option",
    "two dots": "..",
    "a slash": "/",
    "markup": "[red]x[/nothing] [link='y'",
    "a shell's words": "'; $(reboot) `reboot` \"",
    "marks of a format": "%s%n{0}{x!r}{}",
    "a home of nobody": "~nobody-is-called-that/x",
    "a no-break space": "\u00a0",
    "a line separator": "a\u2028b\x85c",
    "half of the plane": "\U0010ffff\ufffe",
    "a word": "hostile",
}  # fmt: skip
NUMBERS: dict[str, str] = {
    "nan": "nan", "inf": "inf", "-inf": "-inf", "1e999": "1e999", "-1": "-1", "-0.5": "-0.5", "-1e300": "-1e300",
    "2**31": str(2**31), "2**63": str(2**63), "2**64": str(2**64), "-2**63": str(-(2**63)), "5,000 digits": "9" * 5000,
    "5e-324": "5e-324", "hexadecimal": "0x10", "a comma": "1,5", "a half": "½", "another script": "٣",
    "two signs": "--5", "underscores": "_1", "a fraction": "1/3", "a percentage": "30%", "with a word": "3 steps",
}  # fmt: skip
# As they stand behind `key = ` in t2v.toml.
TOML: dict[str, str] = {
    "a list": "[1, 2]", "a table": "{ a = 1 }", "a date": "1979-05-27", "true": "true", "nan": "nan", "-inf": "-inf",
    "2**64": str(2**64), "-1": "-1", "a fraction": "0.123456789", "empty": '""', "blank": '"   "',
    "an escape sequence": '"\\u001b[31m"', "a NUL": '"a\\u0000b"', "a newline": '"""two\nlines"""',
    "5,000 digits": "9" * 5000, "10,000 characters": '"' + "long " * 2000 + '"', "no quotes": "cuda", "nothing": "",
    "two lists": "[[1], [2]]", "deep": "[" * 3000 + "]" * 3000, "a word": '"hostile"',
    "a home of nobody": '"~nobody-is-called-that/x"',
}  # fmt: skip
