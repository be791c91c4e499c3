"""What schedules make fire, why something did not, single occurrences, backfills, and the load to come."""
