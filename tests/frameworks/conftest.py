"""What every test against a framework needs."""

import pytest


@pytest.fixture(autouse=True)
def _one_thread():
    """With several, these small functions take up to 300 times as long."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
