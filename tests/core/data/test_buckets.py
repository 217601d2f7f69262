"""Buckets: how they are named, which one a clip goes into, and in which order a training meets them."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2v_core.data.store.buckets import Bucket, TooShort, bucket_for, names_of, read_buckets, shares_in_words
from t2v_core.data.store.mixed_plan import MixedPlan, plan_for
from t2v_core.data.store.shard_plan import plan_shards
from t2v_core.errors import InvalidRequest

WIDE_LONG, WIDE_SHORT, TALL = Bucket(81, 480, 832), Bucket(41, 480, 832), Bucket(81, 832, 480)
BUCKETS = (WIDE_LONG, WIDE_SHORT, TALL)


def test_buckets_are_read_in_any_order_and_named_in_one() -> None:
    read = read_buckets("832x480x81, 480×832×81,832x480x41,832x480x81")
    assert read == (TALL, WIDE_SHORT, WIDE_LONG)
    assert read_buckets(names_of(read)) == read
    assert (
        shares_in_words({"832x480x81": 12, "480x832x1": 1}) == "832×480, 81 frames: 12 clips; 480×832, 1 frame: 1 clip"
    )
    for wrong in ("", "832x480", "832x480x0", "832x480x81,", "axbxc", ",".join(f"16x16x{n + 1}" for n in range(65))):
        with pytest.raises(InvalidRequest, match="--buckets"):
            read_buckets(wrong)


@pytest.mark.parametrize(
    ("width", "height", "frames", "stride", "expected"),
    [
        (1920, 1080, 300, None, WIDE_LONG),
        (1920, 1080, 80, None, WIDE_SHORT),
        (1920, 1080, 81, 1, WIDE_LONG),
        (1920, 1080, 160, 2, WIDE_SHORT),  # 81 frames two apart span 161
        (1080, 1920, 81, None, TALL),
        (1000, 1001, 81, None, TALL),
    ],
)
def test_a_clip_goes_to_the_nearest_shape_and_the_longest_that_it_fills(
    width: int, height: int, frames: int, stride: int | None, expected: Bucket
) -> None:
    assert bucket_for(BUCKETS, width, height, frames, stride) == expected


def test_a_clip_too_short_for_its_shape_says_what_it_lacks() -> None:
    with pytest.raises(TooShort, match=r"has 50 frames and is 1080×1920, and the shortest .* 480x832x81, needs 81"):
        bucket_for(BUCKETS, 1080, 1920, 50, None)


def test_a_shard_has_clips_of_one_bucket() -> None:
    ids = [f"v{number}" for number in range(10)]
    buckets = {name: "ab"[number % 2] for number, name in enumerate(ids)}
    planned = plan_shards(ids, ids[1:], {1}, 3, buckets)
    assert [(one.name[6:11], one.bucket, one.video_ids) for one in planned] == [
        ("00000", "a", ["v2", "v4"]),
        ("00002", "b", ["v1", "v3", "v5"]),
        ("00003", "b", ["v7", "v9"]),
        ("00004", "a", ["v6", "v8"]),
    ]


SIZES = st.lists(st.integers(1, 30), min_size=2, max_size=5)


@given(SIZES, st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9), st.integers(0, 3))
def test_every_clip_comes_once_an_epoch_in_batches_of_one_bucket(
    sizes: list[int], batch: int, accumulation: int, processes: int, seed: int, epoch: int
) -> None:
    rows = list(range(100, 100 + sum(sizes)))
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    buckets = [rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    plan = plan_for(buckets, batch, accumulation, processes, seed)
    assert isinstance(plan, MixedPlan)
    steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
    for ranks in range(1, plan.passes_per_step + 1):  # a run may go on with any number of them
        times: Counter[int] = Counter()
        for step in steps:
            shares = [plan.passes(rank, ranks, step) for rank in range(ranks)]
            assert min(map(len, shares)) >= 1
            assert max(map(len, shares)) - min(map(len, shares)) <= (plan.passes_per_step % ranks != 0)
            counted = 0
            for number in chain(*shares):
                made = plan.rows(step, number)
                assert 1 <= len(made) <= batch
                assert any(set(made) <= set(bucket) for bucket in buckets)
                assert plan.counted(step, number) in (0, len(made))
                counted += plan.counted(step, number)
                times.update(made if plan.counted(step, number) else [])
            assert counted == plan.clips_in(step)
        assert times == Counter(rows)
    again = plan_for(buckets, batch, accumulation, processes, seed)
    assert [again.rows(step, 0) for step in steps] == [plan.rows(step, 0) for step in steps]
