"""The lines about a run that is finished."""

from smskd.cli.progress import Display
from smskd.report.page import PAGE
from smskd.runs.file_names import METRICS
from smskd.session import Run


def name_of(run: Run) -> str:
    """The name of a run, with its seed."""
    return f"{run.recipe.name} seed {run.recipe.runtime.seed}"


def epochs_done(run: Run) -> int:
    """The number of epochs in the metrics of a run."""
    path = run.folder.path / METRICS
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def say_result(run: Run, display: Display) -> None:
    """Prints problems, notes and the accuracy of a run that is complete."""
    for problem in run.problems:
        display.say(problem)
    name, summary = name_of(run), run.folder.load_summary()
    for note in summary.get("notes", ()):
        display.say(f"{name}: note: {note}")
    student = summary["student"]
    accuracy = f"top-1 {student['top1_last']:.2f}% (last epoch)"
    if student["top1_best"] is not None:
        accuracy += f", {student['top1_best']:.2f}% (best epoch by validation)"
    display.say(f"{name}: {accuracy}  {run.folder.path / PAGE}")
