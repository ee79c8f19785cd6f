"""What the pages say of the code, taken from the code: so that it cannot go stale."""
