"""Files that are none: what would hang, or never end, is refused at once."""

from __future__ import annotations

import os

import pytest

import captures
from captures import run, truth
from captures.files import open_regular, read_whole
from captures.model import CaptureError


@pytest.fixture
def fifo(tmp_path):
    """A FIFO that nobody writes to."""
    path = tmp_path / "capture.pcapng"
    os.mkfifo(path)
    return path


def test_a_fifo_is_refused_without_waiting_for_its_writer(fifo):
    with pytest.raises(OSError, match="expected a regular file, found a FIFO"):
        open_regular(fifo)
    with pytest.raises(CaptureError, match="found a FIFO"):
        captures.open(fifo)
    with pytest.raises(OSError, match="found a FIFO"):
        truth.read(fifo)
    with pytest.raises(OSError, match="found a FIFO"):
        run.evidence(fifo.parent)
    fifo.rename(fifo.with_name("run.json"))
    with pytest.raises(run.RunError, match="found a FIFO"):
        run.load(fifo.parent)


def test_a_device_is_refused():
    with pytest.raises(OSError, match="found a character device"):
        read_whole("/dev/zero", 10)


def test_no_more_is_read_than_is_believed(tmp_path):
    path = tmp_path / "keylog.txt"
    path.write_bytes(b"x" * 11)
    assert read_whole(path, 11) == b"x" * 11
    with pytest.raises(OSError, match="expected at most 10 bytes, found more"):
        read_whole(path, 10)
