"""Coherence on an older kernel (Debian 12's): it is told name by name, and looks up the names of directories each time."""
import pytest
import shop as shop_kit
# the same tests, on other mounts
from test_coherence import (test_a_change_shows_everywhere_under_load, test_a_working_directory_keeps_its_path, test_another_row_with_the_name_of_the_one_before,  # noqa: F401
                            test_keys_of_the_parents_lead_to_the_child, test_none_is_lost_none_is_mixed, test_rows_come_and_go)
from test_coherence_versions import test_a_change_in_the_middle_of_a_lookup, test_open_handles_keep_their_version  # noqa: F401

@pytest.fixture
def two(shop_pg, make_mount, old_kernel):
    return [shop_kit.Shop(make_mount(layout=shop_kit.LAYOUT, env=old_kernel), shop_pg) for _ in range(2)]
