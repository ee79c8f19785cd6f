"""What finished runs say: reading them, and comparing them over seeds."""
