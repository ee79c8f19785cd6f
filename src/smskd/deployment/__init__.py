"""A trained student outside of training: it predicts, and leaves as files that other programs load.

- ``student``: the student of a run, or of an exported folder, with what is known of it.
- ``preprocessing``: from an image file to the input of the network, as test images are brought to it.
- ``prediction``: the classes of images or texts; ``image_inputs`` finds and reads the files.
- ``exporting``: everything that is wanted of one student; ``folder`` writes weights and configuration, for networks of
  timm and transformers as these libraries do (``timm_folder``, ``transformers_folder``).
- ``graphs``: the network as a function of tensors; ``onnx_graph`` and ``torch_program`` write it, ``deviation``
  compares what they compute with PyTorch.
- ``loading_lines``: how the result is loaded, in Python.
- ``card`` and ``card_text``: the model card; ``hub``: the upload to the Hugging Face hub.
"""
