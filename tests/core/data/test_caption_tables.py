"""CSV captions as spreadsheets and scripts write them: every character arrives, or the line is named."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import pytest
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.annotations.annotation_rows import read_ids, read_rows
from t2v_core.data.annotations.text_file import whole_characters
from t2v_core.errors import InvalidRequest

# Ends of lines to str.splitlines, quotes, delimiters, spaces, letters of many scripts, and beyond 16 bits.
PIECES = [
    "a man", "sings", " ", ",", ";", "\t", '"', "'", "\n", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c",
    "\x1e", "é", "ß", "猫", "кот", "😀", "\u00a0", "\u200b", "=1+1", "#", "\\", "sep=", "video_id",
]  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


def table(rows: list[list[str]], **options: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue()


def captions(path: Path, encoding: str | None = None) -> dict[str, list[str]]:
    return {clip.video_id: clip.captions for clip in read_rows(path, encoding)}


def manifest(root: Path, **values: object) -> EndedHere:
    return through_the_door(root, "manifest", data="data", **values)


def put(root: Path, content: bytes | str, name: str = "train.csv") -> Path:
    path = root / "data/annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_whatever_a_csv_writer_writes_is_read_back(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(300):
        count = rng.randint(1, 6)
        said = {f"video{n}": "x" + "".join(rng.choices(PIECES, k=rng.randint(0, 6))) for n in range(count)}
        rows = [["video_id", "caption"], *([name, text] for name, text in said.items())]
        options = {
            "delimiter": rng.choice(",;\t"),
            "lineterminator": rng.choice(["\n", "\r\n"]),
            "quoting": rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        }
        encoding = rng.choice(ENCODINGS)
        path = put(tmp_path, table(rows, **options).encode(encoding))
        # spaces at the ends are no part of a caption
        assert captions(path) == {name: [text.strip()] for name, text in said.items()}, (options, encoding)


@pytest.mark.parametrize(
    "text",
    [
        "video_id, caption\nvideo0, a man\n",
        "Video_ID,Caption\nvideo0,a man\n",
        " video_id ;caption\r\nvideo0; a man \r\n",
        'video_id, caption\nvideo0, "a man"\n',
        "\ufeffvideo_id,caption\nvideo0,a man\n",
        "sep=;\r\nvideo_id;caption\r\nvideo0;a man\r\n",
        "\n\nvideo_id,caption\n\nvideo0,a man\n,\n\n",
        "video_id,caption,,\nvideo0,a man,,\n",
        "video_id,caption\nvideo0,a man,,,\n",
        "video_id\tcaption\rvideo0\ta man\r",
    ],
)
def test_spaces_marks_and_empty_cells_are_no_matter(tmp_path: Path, text: str) -> None:
    assert captions(put(tmp_path, text)) == {"video0": ["a man"]}


WRONG = {
    "a surplus comma": (
        "video_id,caption\nvideo0,a man, who sings\n",
        "line 2 of .* has 3 fields, and the header 2 columns: 'who sings' stands after caption",
    ),
    "after a field of two lines": (
        'video_id,caption\nvideo0,"a\nman"\nvideo1,a dog, too\n', "line 4 of .* 'too' stands after caption"
    ),
    "after sep=": ("sep=,\nvideo_id,caption\nvideo0,x\nvideo1,a,b\n", "line 4 of .* has 3 fields"),
    "a missing field": ("video_id,caption,split\nvideo0,x\n", "line 2 of .* has 2 fields, .*: split is missing"),
    "a quote that stays open": ('video_id,caption\nvideo0,x\nvideo1,"a man\nvideo2,y\n', "line 3 of .*unexpected end"),
    "a quote in the middle": ('video_id,caption\nvideo0,"The" end\n', "line 2 of "),
    "two columns of one name": ("video_id,caption,Caption\nvideo0,x,y\n", "has two columns caption"),
    "a zip": (b"PK\x03\x04" + bytes(200), "is a zip archive or an Excel workbook, not text"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(50), "is compressed, not text"),
    "zeros": (b"video_id,caption\nvideo0,\0\0\0\0\n", "is damaged: line 2 holds zero bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_would_lose_a_word_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    content, expected = WRONG[name]
    with pytest.raises(InvalidRequest, match=expected) as caught:
        captions(put(tmp_path, content))
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("encoding", "word"), [("cp1252", "café “x”"), ("cp1251", "кот"), ("gb18030", "一只猫在唱歌")])
@pytest.mark.parametrize("name", ["train.csv", "train_9k.json", "train.jsonl"])
def test_another_encoding_is_asked_for_and_then_read(tmp_path: Path, encoding: str, word: str, name: str) -> None:
    row = json.dumps({"video_id": "video0", "caption": word}, ensure_ascii=False)
    text = {"train.csv": f"video_id,caption\nvideo0,{word}\n", "train_9k.json": f"[\n{row}]", "train.jsonl": row}[name]
    put(tmp_path, text.encode(encoding), name)
    refused = manifest(tmp_path)
    assert refused.code == 2
    assert f"{name} is not UTF-8 text: line {1 if name == 'train.jsonl' else 2} has the byte 0x" in refused.sentence
    assert "t2v data manifest --encoding cp1252" in refused.error["hint"]
    if encoding == "cp1252":
        assert word.split(maxsplit=1)[0] in refused.error["hint"]
    assert manifest(tmp_path, encoding=encoding).code == 0
    written = (tmp_path / "data/annotations/train.manifest.jsonl").read_text(encoding="utf-8")
    assert json.loads(written)["captions"] == [word]


@pytest.mark.parametrize("encoding", ["utf-17", "hex", "rot13", "undefined", ""])
def test_an_encoding_that_nobody_knows_is_refused(tmp_path: Path, encoding: str) -> None:
    put(tmp_path, "video_id,caption\nvideo0,x\n")
    ended = manifest(tmp_path, encoding=encoding)
    assert (ended.code, ended.sentence) == (2, f"there is no text encoding {encoding!r}")


def test_half_an_emoji_becomes_a_replacement_character_with_a_word(tmp_path: Path) -> None:
    rows = [{"video_id": "video0", "caption": ["a dog \ud83d runs", "ok"]}, {"video_id": "v\udc00", "caption": "x"}]
    put(tmp_path, json.dumps(rows), "train_9k.json")
    ended = manifest(tmp_path)
    assert ended.code == 0
    assert ended.warnings == "broken characters in captions of 1 train clips (video0)"
    first, second = (tmp_path / "data/annotations/train.manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["captions"] == ["a dog \ufffd runs", "ok"]
    assert json.loads(second)["video_id"] == "v\ufffd"


def test_halves_that_meet_are_one_character() -> None:
    assert whole_characters("\ud83d\ude00 \ude00\ud83d") == "😀 \ufffd\ufffd"


def test_a_list_of_ids_keeps_dots_and_drops_the_suffix_of_videos(tmp_path: Path) -> None:
    path = put(tmp_path, "video0.mp4\r\nv_a.b_01\n\nc.WEBM\n", "train_list.txt")
    assert [clip.video_id for clip in read_ids(path)] == ["video0", "v_a.b_01", "c"]
