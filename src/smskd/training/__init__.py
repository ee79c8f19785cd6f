"""Training: a run is a sequence of stages, a stage a sequence of epochs, an epoch a sequence of steps."""
