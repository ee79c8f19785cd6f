"""Paths in two blocks of memory."""

import pickle

import pytest

from smskd.data.sources.image_files import find_image_files
from smskd.data.sources.packed_paths import PackedPaths
from tests.support.labelled_folders import plain_folder

PATHS = ["a/b.png", "", "ü/é.jpg", "odd\udcff.png"]


@pytest.mark.parametrize("made", [PackedPaths(PATHS), pickle.loads(pickle.dumps(PackedPaths(PATHS)))])
def test_it_is_a_sequence_of_the_paths(made):
    assert list(made) == PATHS
    assert [made[row] for row in (0, 2, -1)] == [PATHS[0], PATHS[2], PATHS[3]]
    assert made[1:3] == PATHS[1:3]
    assert len(made) == 4
    with pytest.raises(IndexError):
        made[4]


def test_the_files_of_a_folder_are_held_so(tmp_path):
    found = find_image_files(plain_folder(tmp_path) / "train")
    assert isinstance(found.paths, PackedPaths)
    assert found.with_classes(("cat", "dog", "owl")).paths is found.paths
