"""From result records to tables."""
