"""What every test against a framework needs."""

import pytest


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    """With several threads, these small functions take up to 300 times as long; and each test draws the same again."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
