"""The objective of a stage, and the tensors it is computed from."""
