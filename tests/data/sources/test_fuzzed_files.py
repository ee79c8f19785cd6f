"""Files of images whose bytes are changed at random load or are refused in one line, in bounded memory."""

import subprocess
import sys
from pathlib import Path

TRIES = 40


def test_damaged_images_and_parquet_files():
    # In a process of its own: a decoder may end it, and its memory is limited.
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.fuzzed_images", str(TRIES), "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-2000:]
    images, files = (list(map(int, line.split())) for line in done.stdout.splitlines())
    for tries, loaded, refused in (images, files):
        assert loaded + refused == tries
        assert min(loaded, refused) > tries / 10  # both happen: the damage is neither too small nor too large
    assert (images[0], files[0]) == (7 * TRIES, 4 * TRIES)
