"""Feeds on the other versions that are supported: the same tests."""

from __future__ import annotations

import pytest
from test_feed_sql import (
    test_a_consumer_that_is_killed_in_its_transaction_doubles_and_loses_nothing,
    test_a_cursor_moves_with_the_effect_and_not_without,
    test_an_application_has_the_cursors_of_its_tenant_only,
    test_batches_are_whole_transactions_however_late_they_commit,
    test_of_two_consumers_of_one_name_one_moves_it,
    test_what_waits_for_a_feed,
    things,
)
from test_log_versions import installed, superuser

__all__ = [
    "installed", "superuser", "test_a_consumer_that_is_killed_in_its_transaction_doubles_and_loses_nothing",
    "test_a_cursor_moves_with_the_effect_and_not_without", "test_an_application_has_the_cursors_of_its_tenant_only",
    "test_batches_are_whole_transactions_however_late_they_commit", "test_of_two_consumers_of_one_name_one_moves_it",
    "test_what_waits_for_a_feed", "things",
]  # fmt: skip

pytestmark = pytest.mark.long
