"""Devices and contexts (pyverbs.device): get_device_list, Context, DeviceAttr,
PortAttr, GIDEntry.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from lab.engine.qp import MAX_MESSAGE
from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import GID
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, table
from lab.verbs.devices import Devices
from lab.verbs.pyverbs_error import PyverbsRDMAError, PyverbsUserError
from lab.verbs.utils import gid_text

if TYPE_CHECKING:
    from lab.verbs.adapter import Adapter

PKEY = 0xFFFF


class Device(PyverbsObject):
    """An entry of the device list; `name` is bytes, as libibverbs gives it."""

    def __init__(
        self, name: bytes, guid: int, node_type: int, transport_type: int, index: int
    ) -> None:
        self.name = name
        self.guid = guid
        self.node_type = node_type
        self.transport_type = transport_type
        self.index = index

    def __str__(self) -> str:
        return (
            f"Device {self.name.decode()}, node type CA, transport type IB, "
            f"guid {self.guid:x}, index {self.index}"
        )


class DeviceAttr(PyverbsObject):
    """What the device can do; the limits are those this transport keeps to."""

    fw_version = ""
    node_guid = 0
    sys_image_guid = 0
    max_mr_size = MAX_MESSAGE
    page_size_cap = 0xFFFFF000
    vendor_id = 0xFFFFFF
    vendor_part_id = 0
    hw_ver = 0
    max_qp = 0xFFFFFE
    max_qp_wr = 16384
    device_cap_flags = (
        e.IBV_DEVICE_RC_RNR_NAK_GEN | e.IBV_DEVICE_SYS_IMAGE_GUID | e.IBV_DEVICE_SRQ_RESIZE
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
    max_mw = 0
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

    def __str__(self) -> str:
        names = [name for name in vars(DeviceAttr) if name.startswith(("max_", "atomic", "phys"))]
        return table(*((name.replace("_", " "), getattr(self, name)) for name in names))


class PortAttr(PyverbsObject):
    """Port 1, the only one."""

    def __init__(self, active_mtu: int, gids: int) -> None:
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


class GIDEntry(PyverbsObject):
    """An entry of the GID table."""

    def __init__(self, gid: bytes, gid_index: int) -> None:
        self._gid = gid
        self.gid_index = gid_index
        self.port_num = 1
        self.gid_type = e.IBV_GID_TYPE_ROCE_V2
        self.ndev_ifindex = 0

    @property
    def gid_subnet_prefix(self) -> int:
        return int.from_bytes(self._gid[:8], "little")

    @property
    def gid_interface_id(self) -> int:
        return int.from_bytes(self._gid[8:], "little")

    def gid_str(self) -> str:
        return gid_text(self._gid)

    def __str__(self) -> str:
        return table(("GID", self.gid_str()), ("GID Index", self.gid_index))


class Context(PyverbsCM):
    """An open device: `Context(name="roce_0")`.

    `devices` is the list the name is looked up in: that of the provider it was loaded from, else
    the environment's (ROCELAB_DEVICES). Contexts of one device share its queue-pair numbers, keys
    and thread. Raises PyverbsRDMAError where there is no such device, or its address cannot be
    bound.
    """

    devices: ClassVar[Devices | None] = None
    _adapter: Adapter | None = None

    def __init__(self, **kwargs: Any) -> None:
        name = kwargs.get("name")
        if name is None:
            raise PyverbsUserError("Device name must be provided")
        self.name: str = name
        self._devices = self.devices or Devices.from_environment()
        self.pds: WeakSet[Any] = WeakSet()
        self.ccs: WeakSet[Any] = WeakSet()
        self.cqs: WeakSet[Any] = WeakSet()
        self.qps: WeakSet[Any] = WeakSet()
        self._adapter = self._devices.open(name)

    @property
    def adapter(self) -> Adapter:
        """The running device; PyverbsRDMAError once the Context is closed."""
        if self._adapter is None:
            raise PyverbsRDMAError(f"Context of {self.name} is closed", errno.EBADF)
        return self._adapter

    def close(self) -> None:
        """Close everything made from this Context, then the device."""
        if self._adapter is None:
            return
        close_weakrefs([self.qps, self.ccs, self.cqs, self.pds])
        self._adapter = None
        self._devices.close(self.name)

    @property
    def num_comp_vectors(self) -> int:
        return 1

    def query_device(self) -> DeviceAttr:
        return DeviceAttr()

    def query_port(self, port_num: int) -> PortAttr:
        """Attributes of port 1; EINVAL for another."""
        self._check_port(port_num, "Failed to query port")
        return PortAttr(e.IBV_MTU_4096, len(self.adapter.addresses))

    def query_gid(self, port_num: int, index: int) -> GID:
        """GID `index` of the port: the device's own address."""
        gid = GID()
        gid.raw = self._gid(port_num, index)
        return gid

    def query_gid_type(self, port_num: int, index: int) -> int:
        self._gid(port_num, index)
        return int(e.IBV_GID_TYPE_SYSFS_ROCE_V2)

    def query_gid_table(self, max_entries: int, flags: int = 0) -> list[GIDEntry]:
        entries = [self.query_gid_ex(1, index) for index in range(len(self.adapter.addresses))]
        return entries[:max_entries]

    def query_gid_ex(self, port_num: int, gid_index: int, flags: int = 0) -> GIDEntry:
        return GIDEntry(self._gid(port_num, gid_index), gid_index)

    def query_pkey(self, port_num: int, index: int) -> int:
        """The default partition key at index 0, the only one."""
        self._check_port(port_num, "Failed to query pkey")
        if index:
            raise PyverbsRDMAError(f"Failed to query pkey {index} of port {port_num}")
        return PKEY

    def get_pkey_index(self, port_num: int, pkey: int) -> int:
        if pkey != PKEY:
            raise PyverbsRDMAError(f"Failed to get pkey index of pkey = {pkey} of port {port_num}")
        return 0

    def _check_port(self, port_num: int, what: str) -> None:
        if port_num != 1:
            raise PyverbsRDMAError(f"{what} {port_num}: the device has port 1", errno.EINVAL)

    def _gid(self, port_num: int, index: int) -> bytes:
        self._check_port(port_num, f"Failed to query gid {index} of port")
        addresses = self.adapter.addresses
        if not 0 <= index < len(addresses):
            raise PyverbsRDMAError(f"Failed to query gid {index} of port {port_num}", errno.EINVAL)
        packed = addresses[index]
        return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def get_device_list(devices: Devices | None = None) -> list[Device]:
    """The devices of `devices`, or of the environment (ROCELAB_DEVICES)."""
    names = (devices or Context.devices or Devices.from_environment()).names
    return [
        Device(name.encode(), 0, e.IBV_NODE_CA, e.IBV_TRANSPORT_IB, index)
        for index, name in enumerate(names)
    ]
