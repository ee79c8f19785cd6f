"""Anchors: loss terms that hold a student near a reference, against forgetting in later stages.

The reference is a frozen copy of the student as it stood at the end of the previous stage. :mod:`~.reference_kl` (the
anchor of SMSKD) and :mod:`~.toward_reference` compare the outputs of both networks, :mod:`~.l2_sp` and :mod:`~.ewc`
their weights. The reference of :mod:`~.mean_teacher` is the moving average of the student itself. Each file defines one
anchor, whose name is that of the file.
"""
