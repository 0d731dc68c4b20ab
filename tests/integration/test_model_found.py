"""What random operations have found (tests/model), each shrunk to a few calls, again."""
import os
import subprocess
import sys
from pathlib import Path

import mountkit
import pytest

MODEL = Path(__file__).resolve().parents[1] / "model"


@pytest.mark.parametrize("found", sorted((MODEL / "found").glob("*.json")), ids=lambda path: path.stem)
def test_found_by_the_model(fuse, found):
    done = subprocess.run([sys.executable, MODEL / "run", "--replay", found], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "ROWFS_BIN": str(mountkit.rowfs_binary())})
    assert done.returncode == 0, done.stdout + done.stderr
