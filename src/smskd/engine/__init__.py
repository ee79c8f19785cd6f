"""The engine: the objective of a stage, the loop over its epochs, the run over its stages, and the run's folder."""
