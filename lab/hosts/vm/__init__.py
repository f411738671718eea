"""Two hosts as two virtual machines whose kernel is Linux with Soft-RoCE (rdma_rxe)."""
