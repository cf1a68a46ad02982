"""From records to tables: pure, so that rendering twice gives the same bytes."""
