"""The folder of a run.

``file_names`` has the names of the files, ``folder`` writes and resumes a run, ``reader`` reads finished runs, and
``atomic_files`` writes single files so that a reader never finds half of one.
"""
