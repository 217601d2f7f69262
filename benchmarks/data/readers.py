"""Sixteen evenly spaced frames of a clip, by us and by others, one thread each. Missing peers are said, not used."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from t2v_core.data.video.decode import read_frames

COUNT = 16
Frames = NDArray[np.uint8]  # (COUNT, height, width, 3) RGB
Reader = Callable[[Path], Frames]


def t2v(path: Path) -> Frames:
    return read_frames(path, COUNT).frames


def pyav_all(path: Path) -> Frames:
    """Decode every frame, convert those that are wanted: what most scripts do."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        container.streams.video[0].codec_context.thread_count = 1
        frames = list(container.decode(video=0))
    return np.stack([frames[i].to_ndarray(format="rgb24") for i in _spread(len(frames))])


def opencv_by_index(path: Path) -> Frames:
    """The previous system's way."""
    import cv2  # one of the peers, which need not be there

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    images = []
    for index in _spread(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        is_read, image = capture.read()
        if not is_read:
            raise ValueError(f"no frame {index}")
        images.append(image[..., ::-1])
    capture.release()
    return np.stack(images)


def imageio_ffmpeg(path: Path) -> Frames:
    from imageio import v2

    with v2.get_reader(path, format="ffmpeg", input_params=["-threads", "1"]) as reader:
        return np.stack([reader.get_data(i) for i in _spread(reader.count_frames())])


def decord(path: Path) -> Frames:
    from decord import VideoReader

    reader = VideoReader(str(path), num_threads=1)
    frames: Frames = reader.get_batch(_spread(len(reader))).asnumpy()
    return frames


def torchcodec_exact(path: Path) -> Frames:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), seek_mode="exact", num_ffmpeg_threads=1, dimension_order="NHWC")
    frames: Frames = decoder.get_frames_at(_spread(len(decoder))).data.numpy()
    return frames


# name → what to install, and the reader
PEERS: dict[str, tuple[str, str, Reader]] = {
    "OpenCV by index": ("cv2", "opencv-python-headless", opencv_by_index),
    "imageio (ffmpeg)": ("imageio_ffmpeg", "imageio-ffmpeg", imageio_ffmpeg),
    "decord": ("decord", "decord==0.6.0", decord),
    "torchcodec exact": ("torchcodec", "torchcodec==0.13.0", torchcodec_exact),
}


def installed_readers() -> dict[str, Reader]:
    """Ours first, then the peers that are installed; a word for each that is not."""
    readers: dict[str, Reader] = {"t2v": t2v, "PyAV decode all": pyav_all}
    for name, (module, package, reader) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name}: not installed: pip install --no-deps {package}")
        else:
            readers[name] = reader
    return readers


def _spread(total: int) -> list[int]:
    return [int(i) for i in np.round(np.linspace(0, total - 1, COUNT))]
