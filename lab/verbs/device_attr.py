"""What a device and its port can do: the attribute classes of pyverbs.device."""

from __future__ import annotations

from lab.engine.work import MAX_MESSAGE
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsObject, table


class DeviceAttr(PyverbsObject):
    """What the device can do; the limits are those this transport keeps to.

    Support: full.
    """

    fw_version = ""
    node_guid = 0
    """In network byte order, as libibverbs has it."""
    sys_image_guid = 0
    max_mr_size = MAX_MESSAGE
    page_size_cap = 0xFFFFF000
    vendor_id = 0xFFFFFF
    vendor_part_id = 0
    hw_ver = 0
    max_qp = 0xFFFFFE
    max_qp_wr = 16384
    device_cap_flags = (
        e.IBV_DEVICE_RC_RNR_NAK_GEN
        | e.IBV_DEVICE_SYS_IMAGE_GUID
        | e.IBV_DEVICE_SRQ_RESIZE
        | e.IBV_DEVICE_CURR_QP_STATE_MOD
        | e.IBV_DEVICE_MEM_WINDOW
        | e.IBV_DEVICE_MEM_WINDOW_TYPE_2B
    )
    max_sge = 32
    max_sge_rd = 32
    max_cq = 1 << 20
    max_cqe = 1 << 16
    max_mr = 1 << 20
    max_pd = 1 << 20
    max_qp_rd_atom = 128
    max_ee_rd_atom = 0
    max_res_rd_atom = 1 << 20
    max_qp_init_rd_atom = 128
    max_ee_init_rd_atom = 0
    atomic_caps = e.IBV_ATOMIC_HCA
    max_ee = 0
    max_rdd = 0
    max_mw = 1 << 20
    max_raw_ipv6_qps = 0
    max_raw_ethy_qp = 0
    max_mcast_grp = 0
    max_mcast_qp_attach = 0
    max_ah = 1 << 20
    max_fmr = 0
    max_map_per_fmr = 0
    max_srq = 1 << 20
    max_srq_wr = 16384
    max_srq_sge = 32
    max_pkeys = 1
    local_ca_ack_delay = 15
    phys_port_cnt = 1

    def __init__(self, guid: int = 0) -> None:
        self.node_guid = self.sys_image_guid = int.from_bytes(guid.to_bytes(8, "big"), "little")

    def __str__(self) -> str:
        names = [name for name in vars(DeviceAttr) if name.startswith(("max_", "atomic", "phys"))]
        return table(*((name.replace("_", " "), getattr(self, name)) for name in names))


class Caps(PyverbsObject):
    """Base of the capabilities by feature; of a feature that is not there each is 0."""

    def __str__(self) -> str:
        return table(
            *(
                (name.replace("_", " "), value)
                for name, value in vars(type(self)).items()
                if isinstance(value, int)
            )
        )


_SENDS = e.IBV_ODP_SUPPORT_SEND | e.IBV_ODP_SUPPORT_RECV
_WRITES = _SENDS | e.IBV_ODP_SUPPORT_WRITE


class ODPCaps(Caps):
    """On-demand paging: memory here is never pinned, so that each region is on demand.

    Support: full. There are no implicit regions.
    """

    general_caps = int(e.IBV_ODP_SUPPORT)
    rc_odp_caps = int(
        _WRITES | e.IBV_ODP_SUPPORT_READ | e.IBV_ODP_SUPPORT_ATOMIC | e.IBV_ODP_SUPPORT_SRQ_RECV
    )
    uc_odp_caps = int(_WRITES | e.IBV_ODP_SUPPORT_SRQ_RECV)
    ud_odp_caps = int(_SENDS | e.IBV_ODP_SUPPORT_SRQ_RECV)
    xrc_odp_caps = 0


class PCIAtomicCaps(Caps):
    """PCI atomics: none.

    Support: full.
    """

    fetch_add = 0
    swap = 0
    compare_swap = 0


class TSOCaps(Caps):
    """TCP segmentation offload: none.

    Support: full.
    """

    max_tso = 0
    supported_qpts = 0


class RSSCaps(Caps):
    """Receive-side scaling: none.

    Support: full.
    """

    supported_qpts = 0
    max_rwq_indirection_tables = 0
    rx_hash_fields_mask = 0
    rx_hash_function = 0
    max_rwq_indirection_table_size = 0


class PacketPacingCaps(Caps):
    """Packet pacing: none.

    Support: full.
    """

    qp_rate_limit_min = 0
    qp_rate_limit_max = 0
    supported_qpts = 0


class TMCaps(Caps):
    """Tag matching: none.

    Support: full.
    """

    max_rndv_hdr_size = 0
    max_num_tags = 0
    flags = 0
    max_ops = 0
    max_sge = 0


class CQModerationCaps(Caps):
    """Moderation of completion events: none.

    Support: full.
    """

    max_cq_count = 0
    max_cq_period = 0


class QueryDeviceExInput(PyverbsObject):
    """What to ask `query_device_ex` for.

    Support: full.
    """

    def __init__(self, comp_mask: int) -> None:
        self.comp_mask = comp_mask


class DeviceAttrEx(PyverbsObject):
    """DeviceAttr (`orig_attr`), and the capabilities that came after it, of which there are few.

    Support: full.
    """

    completion_timestamp_mask = 0
    hca_core_clock = 0
    device_cap_flags_ex = 0
    max_wq_type_rq = 0
    raw_packet_caps = 0
    max_dm_size = 0
    phys_port_cnt_ex = 1

    def __init__(self, orig_attr: DeviceAttr | None = None) -> None:
        self.orig_attr = orig_attr or DeviceAttr()
        self.device_cap_flags_ex = int(self.orig_attr.device_cap_flags)
        self.comp_mask = 0
        self.odp_caps = ODPCaps()
        self.tso_caps = TSOCaps()
        self.pci_atomic_caps = PCIAtomicCaps()
        self.rss_caps = RSSCaps()
        self.packet_pacing_caps = PacketPacingCaps()
        self.tm_caps = TMCaps()
        self.cq_mod_caps = CQModerationCaps()

    def __str__(self) -> str:
        return str(self.orig_attr)


class PortAttr(PyverbsObject):
    """Port 1, the only one. `active_mtu` follows the interface's MTU, as rxe's does; speed and
    width stand for nothing.

    Support: full.
    """

    def __init__(self, active_mtu: int = e.IBV_MTU_1024, gids: int = 0) -> None:
        self.state = e.IBV_PORT_ACTIVE
        self.max_mtu = e.IBV_MTU_4096
        self.active_mtu = active_mtu
        self.gid_tbl_len = gids
        self.port_cap_flags = int(e.IBV_PORT_CM_SUP | e.IBV_PORT_IP_BASED_GIDS)
        self.max_msg_sz = MAX_MESSAGE
        self.bad_pkey_cntr = 0
        self.qkey_viol_cntr = 0
        self.pkey_tbl_len = 1
        self.lid = 0
        self.sm_lid = 0
        self.lmc = 0
        self.max_vl_num = 1
        self.sm_sl = 0
        self.subnet_timeout = 0
        self.init_type_reply = 0
        self.active_width = 1
        self.active_speed = 1
        self.phys_state = 5
        self.link_layer = e.IBV_LINK_LAYER_ETHERNET
        self.flags = int(e.IBV_QPF_GRH_REQUIRED)
        self.port_cap_flags2 = 0
        self.active_speed_ex = 0

    def __str__(self) -> str:
        return table(*((name.replace("_", " "), value) for name, value in vars(self).items()))
