"""Spot-adaptive distillation (Song et al.: Spot-adaptive Knowledge Distillation, IEEE TIP 2022, arXiv 2205.02399).

``spot`` finds the places at which the methods of a stage compare student and teacher; ``policy`` decides for each
sample at which of them it is distilled; ``gates`` computes the methods' losses of the chosen samples; ``grafting`` runs
the network of parts of student and teacher that trains the policy; ``objective`` puts them together.
"""
