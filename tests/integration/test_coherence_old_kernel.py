"""Coherence on an older kernel (Debian 12's): it is told name by name, and looks up the names of directories each time."""
from pathlib import Path

import pytest
import shop as shop_kit
from kit import run
from mountkit import sanitizer_env
# the same tests, on other mounts
from test_coherence import (test_a_change_shows_everywhere_under_load, test_a_working_directory_keeps_its_path, test_another_row_with_the_name_of_the_one_before,  # noqa: F401
                            test_keys_of_the_parents_lead_to_the_child, test_none_is_lost_none_is_mixed, test_rows_come_and_go)
from test_coherence_versions import test_a_change_in_the_middle_of_a_lookup, test_open_handles_keep_their_version  # noqa: F401

SOURCE = Path(__file__).with_name("old_kernel.c")


@pytest.fixture(scope="module")
def old_kernel(tmp_path_factory):
    """What makes a daemon see an older kernel: its environment."""
    library = tmp_path_factory.mktemp("kernel") / "old_kernel.so"
    run("cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, SOURCE)
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": sanitizer_env()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}


@pytest.fixture
def two(shop_pg, make_mount, old_kernel):
    return [shop_kit.Shop(make_mount(layout=shop_kit.LAYOUT, env=old_kernel), shop_pg) for _ in range(2)]
