"""Work in Python: functions that jobs run, and that other code submits, as executions of the ledger."""
