"""The fixtures of batches, which run the command in this process."""

from tests.batch.conftest import empty_folder as empty_folder
from tests.batch.conftest import run as run
