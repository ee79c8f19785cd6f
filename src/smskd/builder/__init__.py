"""The parts of :func:`smskd.build.build`: data, networks, loaders."""
