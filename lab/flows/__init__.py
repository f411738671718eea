"""RDMA conversations written once as pyverbs code: each a function of one end's verbs."""
