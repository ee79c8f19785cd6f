"""The diagrams of the page "How a run works"."""

from generate.diagrams import Arrow, Box, Diagram, svg

RECIPE = Diagram(
    "From a recipe or the arguments of distill to the folder of a run",
    (
        (
            Box("recipe.yaml", "with its bases, and key.path=value from the command line", file=True),
            Box("distill()", "networks, data and settings as Python objects"),
        ),
        (Box("Recipe", "frozen dataclasses, each value checked; choices may be left open"),),
        (Box("ResolvedRecipe", "no choice left open: methods, anchor and epochs of each stage"),),
        (
            Box("RunConfig", "student, teachers, loaders, on the device"),
            Box("Identity", "settings, and fingerprints of data and weights"),
        ),
        (Box("TrainingState", "student, reference, objective, optimizer, counters"),),
        (Box("runs/NAME", "recipe.yaml, metrics, checkpoint, students, summary, page", file=True),),
    ),
    (
        Arrow((0, 0), (1, 0), "recipe.read"),
        Arrow((0, 1), (1, 0)),
        Arrow((1, 0), (2, 0), "resolve"),
        Arrow((2, 0), (3, 0), "build"),
        Arrow((2, 0), (3, 1), "as_mapping"),
        Arrow((3, 0), (4, 0), "run"),
        Arrow((3, 1), (4, 0), "digest"),
        Arrow((4, 0), (5, 0), "after every epoch"),
    ),
)

BATCH = Diagram(
    "From the loader to the metrics of an epoch",
    (
        (Box("Loader", "order and augmentation follow from seed, epoch and index of the sample"),),
        (Box("BatchGroup", "on a GPU several batches, up to 1,024 images of 32x32; on a CPU one"),),
        (
            Box("TeacherCache", "the teacher's outputs, where they are cached"),
            Box("Frozen", "teacher and reference, as deep as the deepest tap"),
        ),
        (Box("Batch", "images, labels, indices, views, and outputs: FrozenOutputs"),),
        (Box("Objective", "forward pass of the student; cross-entropy, methods, anchor"),),
        (Box("Losses", "total, weighted parts by name, logits"),),
        (Box("Step", "backward pass and update; on a GPU a GraphedStep replays both passes and the update"),),
        (Box("EpochMetrics", "sums on the device, read once at the end of the epoch"),),
        (Box("metrics.jsonl", "one line per epoch, with the accuracies after it", file=True),),
    ),
    (
        Arrow((0, 0), (1, 0), "groups"),
        Arrow((1, 0), (2, 0), "precompute"),
        Arrow((1, 0), (2, 1)),
        Arrow((2, 0), (3, 0)),
        Arrow((2, 1), (3, 0), "split"),
        Arrow((3, 0), (4, 0)),
        Arrow((4, 0), (5, 0), "forward"),
        Arrow((5, 0), (6, 0)),
        Arrow((6, 0), (7, 0), "add"),
        Arrow((7, 0), (8, 0), "EpochReport"),
    ),
)

TEACHER = Diagram(
    "From a file of weights to the teacher's cached outputs",
    (
        (Box("resnet56.pth", "safetensors, a published checkpoint, or the folder of a run", file=True),),
        (Box("FeatureModel", "features by name"),),
        (Box("Frozen", "eval mode, no gradients, not registered as a submodule"),),
        (
            Box("Frozen.model", "unfolded, on the CPU: weights, classifier, fingerprint"),
            Box("Frozen.extract", "folded and compared, channels-last, on the device"),
        ),
        (
            Box("Key", "weights, structure, images, precision"),
            Box("FrozenOutputs", "by tap, without gradient"),
        ),
        (Box("TeacherCache", "logits and pooled features in float16, by image and augmentation variant"),),
    ),
    (
        Arrow((0, 0), (1, 0), "create, load_weights"),
        Arrow((1, 0), (2, 0)),
        Arrow((2, 0), (3, 0)),
        Arrow((2, 0), (3, 1), "folded"),
        Arrow((3, 0), (4, 0), "key_of"),
        Arrow((3, 1), (4, 1)),
        Arrow((4, 0), (5, 0), "folder on disk"),
        Arrow((4, 1), (5, 0), "each once"),
    ),
)

CHECKPOINT = Diagram(
    "From the training state to a checkpoint and back",
    (
        (Box("TrainingState.state_dict", "student, term states, optimizer, EMA, best, reference, counters"),),
        (Box("Checkpoint", "tensors by part and name; counters, digest and identity as JSON"),),
        (Box("checkpoint.safetensors", "the previous one until the new one is complete", file=True),),
        (Box("check_identity", "settings, data and weights against those that the run was begun with"),),
        (Box("TrainingState.load_state_dict", "builds the stage, then loads each part into its own place"),),
        (
            Box("Frozen", "the reference, restored as one and folded anew"),
            Box("Objective, Step", "term states, optimizer, scale of float16 gradients"),
        ),
        (Box("train_epochs", "the next epoch; generators are seeded from seed and epoch"),),
    ),
    (
        Arrow((0, 0), (1, 0), "after every epoch"),
        Arrow((1, 0), (2, 0), "save_checkpoint"),
        Arrow((2, 0), (3, 0), "smskd resume"),
        Arrow((3, 0), (4, 0), "equal, or --force"),
        Arrow((4, 0), (5, 0)),
        Arrow((4, 0), (5, 1)),
        Arrow((5, 0), (6, 0)),
        Arrow((5, 1), (6, 0)),
    ),
)

DIAGRAMS = {"recipe": RECIPE, "batch": BATCH, "teacher": TEACHER, "checkpoint": CHECKPOINT}
"""By the word that asks for them on a page."""


def figure(word: str) -> str:
    """A diagram as a figure, for a page.

    Raises:
        KeyError: there is no diagram of this name.
    """
    return f"<figure>{svg(DIAGRAMS[word])}</figure>"
