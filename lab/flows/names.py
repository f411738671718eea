"""The names of verbs' numbers, for logs: the same whichever provider gave the number."""

from __future__ import annotations

# enum ibv_wc_status, in its order
STATUSES = (
    "IBV_WC_SUCCESS",
    "IBV_WC_LOC_LEN_ERR",
    "IBV_WC_LOC_QP_OP_ERR",
    "IBV_WC_LOC_EEC_OP_ERR",
    "IBV_WC_LOC_PROT_ERR",
    "IBV_WC_WR_FLUSH_ERR",
    "IBV_WC_MW_BIND_ERR",
    "IBV_WC_BAD_RESP_ERR",
    "IBV_WC_LOC_ACCESS_ERR",
    "IBV_WC_REM_INV_REQ_ERR",
    "IBV_WC_REM_ACCESS_ERR",
    "IBV_WC_REM_OP_ERR",
    "IBV_WC_RETRY_EXC_ERR",
    "IBV_WC_RNR_RETRY_EXC_ERR",
    "IBV_WC_LOC_RDD_VIOL_ERR",
    "IBV_WC_REM_INV_RD_REQ_ERR",
    "IBV_WC_REM_ABORT_ERR",
    "IBV_WC_INV_EECN_ERR",
    "IBV_WC_INV_EEC_STATE_ERR",
    "IBV_WC_FATAL_ERR",
    "IBV_WC_RESP_TIMEOUT_ERR",
    "IBV_WC_GENERAL_ERR",
    "IBV_WC_TM_ERR",
    "IBV_WC_TM_RNDV_INCOMPLETE",
)

# enum ibv_wr_opcode
OPCODES = {
    0: "IBV_WR_RDMA_WRITE",
    1: "IBV_WR_RDMA_WRITE_WITH_IMM",
    2: "IBV_WR_SEND",
    3: "IBV_WR_SEND_WITH_IMM",
    4: "IBV_WR_RDMA_READ",
    5: "IBV_WR_ATOMIC_CMP_AND_SWP",
    6: "IBV_WR_ATOMIC_FETCH_AND_ADD",
    7: "IBV_WR_LOCAL_INV",
    9: "IBV_WR_SEND_WITH_INV",
}
RECEIVE = "IBV_WR_RECV"  # verbs has no opcode for a receive request; this is the log's word
