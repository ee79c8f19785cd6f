"""Functions of tensors, and small layers, that methods and anchors share."""
