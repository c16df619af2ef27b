"""What holds for every test: Hypothesis profiles, and no unexpected complaint in the logs."""

import logging
import os
from collections.abc import Generator

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

settings.register_profile(
    "dev", deadline=None, database=DirectoryBasedExampleDatabase(".hypothesis/examples")
)
# The same examples each time: a gate judges the change, not the draw.
settings.register_profile("ci", deadline=None, database=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


class Complaints(logging.Handler):
    """Keeps what is logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name}: {record.levelname}: {record.getMessage()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test in which something complained, unless it looks at the log itself (caplog)."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(complaints)
    if complaints.messages and "caplog" not in getattr(item, "fixturenames", ()):
        pytest.fail("unexpected log records:\n" + "\n".join(complaints.messages))
