"""The names of the files in the folder of a run, and the format of its summary. Nothing here imports torch."""

RECIPE = "recipe.yaml"
"""The resolved recipe."""

ENVIRONMENT = "environment.json"
"""Versions, device and number of threads."""

METRICS = "metrics.jsonl"
"""One JSON object per epoch."""

PRETRAINING = "pretraining.jsonl"
"""One JSON object per epoch of the pretraining phases; missing where no method has one."""

SUMMARY = "summary.json"
"""The results of a finished run."""

STUDENT = "student.safetensors"
"""The weights of the resulting student; those of each stage's student are in ``stages/<number>``."""

TERMS = "terms.safetensors"
"""In the folder of a stage: the modules of its loss terms at its end, for the analysis."""

CHECKPOINT = "checkpoint.safetensors"
"""The training state of an unfinished run."""

MOST_CHECKPOINTS = 100
"""That a run may keep; the older ones are called ``checkpoint.1.safetensors`` and so on."""

LOCK = ".lock"
"""Is there while a process trains the run, and after it was killed."""

SEEDS = "seeds.json"
"""The seeds of several runs, in the folder above theirs."""

STAGES = "stages"
"""The folder with a folder for each stage."""

OF_RUNS = (RECIPE, ENVIRONMENT, METRICS, PRETRAINING, CHECKPOINT, SUMMARY)
"""At least two of these are in the folder of a run."""

STORED = "stored"
"""Key of a line of metrics that another run has trained, from whose stage in a store it was taken."""

SUMMARY_FORMAT = 2
"""The layout of ``summary.json`` that this version reads and writes."""
