"""What keeps a student from forgetting: the frozen reference and the losses that hold the student near it."""
