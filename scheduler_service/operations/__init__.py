"""What operators ask: the audit, and the doctor."""
