"""The rules of scheduling as pure code: no clock, no network, no storage."""
