"""The workload of shared workspaces on docstore and on its peers, in one run: `python -m benchmarks.peers measure`."""
