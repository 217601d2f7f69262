"""CSV as people make it: commas, semicolons or tabs, spaces after them, Excel's `sep=`; and nothing lost in reading it.

A row with more fields than the header has columns would lose the end of its caption, so it is refused by its number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from t2v_core.errors import InvalidRequest
from t2v_core.format import counted

DELIMITERS = (",", ";", "\t")
# The first line of a CSV that Excel is to open in any country.
EXCEL_SEPARATOR = re.compile(r"\A\"?sep=(.)\"?\r?\n", re.IGNORECASE)
SHOWN = 40


class Table:
    """A CSV with a header. columns: their names, in lower case

    Raises InvalidRequest for a file without a line, or with two columns of one name.
    """

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        asked = EXCEL_SEPARATOR.match(text)
        self._skipped = 1 if asked else 0
        text = text[asked.end() :] if asked else text
        first = next((line for line in io.StringIO(text, newline="") if line.strip()), "")
        if not first:
            raise InvalidRequest(f"{file} is empty", hint="fetch it again, whole")
        self.first_line = first.strip()
        self._delimiter = asked[1] if asked else max(DELIMITERS, key=first.count)
        # newline="": a caption may hold U+2028, U+0085 or a form feed, which are no ends of lines in a CSV.
        lines = io.StringIO(text, newline="")
        self._reader = csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
        _, header = next(self._filled())
        self.columns = [name.strip().lower() for name in header]
        named = [name for name in self.columns if name]
        if doubled := next((name for name in named if named.count(name) > 1), None):
            raise InvalidRequest(f"{file} has two columns {doubled}", hint="keep one of them, or rename the other")

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield (`line 7 of train.csv`, its values by column).

        Raises InvalidRequest that names the line and the column.
        """
        for where, row in self._filled():
            while len(row) > len(self.columns) and not row[-1].strip():
                row.pop()  # a sheet with empty columns on the right
            if len(row) != len(self.columns):
                raise self._uneven(where, row)
            yield where, {name: value for name, value in zip(self.columns, row, strict=True) if name}

    def _filled(self) -> Iterator[tuple[str, list[str]]]:
        """Rows that hold anything, each with the line that it begins at."""
        while True:
            where = f"line {self._reader.line_num + self._skipped + 1} of {self.file}"
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                raise InvalidRequest(
                    f"{where}: {error}", hint="a field that begins with a quote ends with one, and doubles those inside"
                ) from error
            if row is None:
                return
            if any(value.strip() for value in row):
                yield where, row

    def _uneven(self, where: str, row: list[str]) -> InvalidRequest:
        what = f"{where} has {counted(len(row), 'field')}, and the header {counted(len(self.columns), 'column')}"
        if len(row) < len(self.columns):
            return InvalidRequest(
                f"{what}: {self.columns[len(row)]} is missing", hint="complete the line, or remove it"
            )
        last, extra = self.columns[-1], self._delimiter.join(row[len(self.columns) :])
        shown = extra if len(extra) <= SHOWN else f"{extra[:SHOWN]}…"
        return InvalidRequest(
            f"{what}: {shown!r} stands after {last}",
            hint=f'put quotes round a field that has a {_name(self._delimiter)} in it: "a man, who sings"',
        )


def _name(delimiter: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab"}.get(delimiter, delimiter)
