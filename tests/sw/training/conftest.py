"""One thread, and the folder of a small data set."""

import pytest
import torch

from tests.support.training import write_split

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patterns")
    write_split(folder, "train", 600, seed=1)
    write_split(folder, "t10k", 200, seed=2)
    return folder
