"""A run that is followed from outside, by the trackers that accelerate knows.

- ``names``: the trackers, and whether their packages are installed.
- ``opening``: a tracker of a run, local unless the user's environment says otherwise.
- ``following``: what is logged: an epoch's losses and accuracies, forgetting, images of forgotten samples.
"""
