"""MongoDB: documents to domain values and back, filters and updates, indexes. Pure data; the processes run it."""
