"""The heavy call on a cluster: a function with its values and inputs, sent as content.

This machine asks (`cluster`), a node computes (`worker`); between them lie requests and results, by
their hashes, in a storage that both reach. Ray's Jobs API starts and stops the jobs. Nothing here
knows what is computed, and nothing imports ray before a cluster is asked for.
"""
