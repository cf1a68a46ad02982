"""From a plan to records: read `pipeline` first."""
