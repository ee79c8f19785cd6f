"""Many runs: training several of them at a time in worker processes."""
