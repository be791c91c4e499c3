"""What every process of the scheduler shares; it imports none of them."""
