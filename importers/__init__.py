"""`python -m importers`: what other beats keep, as jobs to be read, edited and created; see docs/migration.md."""
