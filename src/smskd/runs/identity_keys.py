"""Keys of a run's identity (``summary.json``) that have a meaning of their own. Nothing here imports torch."""

SEED = ("runtime.seed", "fingerprints.loader_seed")
"""The seed of training, and that of the batches, which follows from it."""

INITIAL_STUDENT = "fingerprints.student"
"""The student's initial weights; they follow from the seed unless the recipe names a file of weights."""

HARMLESS = (
    "runtime.device",
    "runtime.checkpoint_every",
    "runtime.compile",
    "training.test_batch_size",
)
"""Keys that change a result by rounding at most."""
