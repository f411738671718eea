"""Devices and contexts (pyverbs.device): devices, attributes, the GID table, events."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from lab.engine.events import AsyncKind
from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import GID
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, table, unsupported
from lab.verbs.device_attr import (
    CQModerationCaps,
    DeviceAttr,
    DeviceAttrEx,
    ODPCaps,
    PacketPacingCaps,
    PCIAtomicCaps,
    PortAttr,
    QueryDeviceExInput,
    RSSCaps,
    TMCaps,
    TSOCaps,
)
from lab.verbs.devices import Devices
from lab.verbs.interface import active_mtu, index_of
from lab.verbs.pyverbs_error import PyverbsRDMAError, PyverbsUserError
from lab.verbs.text import (
    guid_format,
    guid_to_hex,
    phys_state_to_str,
    port_state_to_str,
    speed_to_str,
    str_from_flags,
    translate_device_caps,
    translate_event_type,
    translate_gid_type,
    translate_link_layer,
    translate_mtu,
    translate_node_type,
    translate_port_cap_flags,
    translate_port_cap_flags2,
    translate_transport_type,
    width_to_str,
)
from lab.verbs.utils import gid_text

if TYPE_CHECKING:
    from lab.verbs.adapter import Adapter

__all__ = [
    "DM",
    "PKEY",
    "AllocDmAttr",
    "AsyncEvent",
    "CQModerationCaps",
    "Context",
    "Device",
    "DeviceAttr",
    "DeviceAttrEx",
    "FdArr",
    "GIDEntry",
    "ODPCaps",
    "PCIAtomicCaps",
    "PacketPacingCaps",
    "PortAttr",
    "QueryDeviceExInput",
    "RSSCaps",
    "TMCaps",
    "TSOCaps",
    "get_device_list",
    "guid_format",
    "guid_to_hex",
    "phys_state_to_str",
    "port_state_to_str",
    "rdma_get_devices",
    "speed_to_str",
    "str_from_flags",
    "translate_device_caps",
    "translate_event_type",
    "translate_gid_type",
    "translate_link_layer",
    "translate_mtu",
    "translate_node_type",
    "translate_port_cap_flags",
    "translate_port_cap_flags2",
    "translate_transport_type",
    "width_to_str",
]

PKEY = 0xFFFF


def guid_of(name: str) -> int:
    """There is no hardware to name: 8 bytes from the device's name, marked as locally made (the
    U/L bit of EUI-64), in host order.
    """
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") | 0x02 << 56


class Device(PyverbsObject):
    """An entry of the device list; `name` is bytes, as libibverbs gives it.

    Support: full.
    """

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
            f"Device {self.name.decode()}, node type {translate_node_type(self.node_type)}, "
            f"transport type {translate_transport_type(self.transport_type)}, "
            f"guid {guid_to_hex(self.guid)}, index {self.index}"
        )


class GIDEntry(PyverbsObject):
    """An entry of the GID table; the two halves are in network byte order.

    Support: full.
    """

    def __init__(
        self,
        subnet_prefix: int = 0,
        interface_id: int = 0,
        gid_index: int = 0,
        port_num: int = 0,
        gid_type: int = 0,
        ndev_ifindex: int = 0,
    ) -> None:
        self.gid_subnet_prefix = subnet_prefix
        self.gid_interface_id = interface_id
        self.gid_index = gid_index
        self.port_num = port_num
        self.gid_type = gid_type
        self.ndev_ifindex = ndev_ifindex

    def gid_str(self) -> str:
        halves = (self.gid_subnet_prefix, self.gid_interface_id)
        return gid_text(b"".join(half.to_bytes(8, "little") for half in halves))

    def __str__(self) -> str:
        return table(
            ("GID", self.gid_str()),
            ("GID Index", self.gid_index),
            ("Port number", self.port_num),
            ("GID type", translate_gid_type(self.gid_type)),
            ("Ndev ifindex", self.ndev_ifindex),
            width=24,
        )


class AsyncEvent(PyverbsObject):
    """Something that befell an object of the Context without being asked for.

    Support: full. `ack` has nothing to do: no object waits for it.
    """

    def __init__(self, event_type: int = 0) -> None:
        self.event_type = event_type

    def ack(self) -> None:
        pass

    def __str__(self) -> str:
        return table(("Event Type", translate_event_type(self.event_type)), width=24)


class AllocDmAttr(PyverbsObject):
    """What device memory to allocate.

    Support: full, but no device here has any (DM).
    """

    def __init__(self, length: int, log_align_req: int = 0, comp_mask: int = 0) -> None:
        self.length = length
        self.log_align_req = log_align_req
        self.comp_mask = comp_mask


class Context(PyverbsCM):
    """An open device: `Context(name="roce_0")`.

    `devices` is the list the name is looked up in: that of the provider it was loaded from, else
    the environment's (ROCELAB_DEVICES). Contexts of one device share its queue-pair numbers, keys
    and thread. Raises PyverbsRDMAError where there is no such device, or its address cannot be
    bound.

    Support: partly. A Context is opened by name; importing one (`cmd_fd`), one of rdma_cm (`cmid`)
    and a provider's attributes (`attr`) are not supported.
    """

    devices: ClassVar[Devices | None] = None
    _adapter: Adapter | None = None

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("cmd_fd") is not None or kwargs.get("cmid") is not None:
            unsupported("Importing a device")
        name = kwargs.get("name")
        if name is None:
            raise PyverbsUserError("Device name must be provided")
        self.name: str = name
        self._devices = self.devices or Devices.from_environment()
        self.pds: WeakSet[Any] = WeakSet()
        self.ccs: WeakSet[Any] = WeakSet()
        self.cqs: WeakSet[Any] = WeakSet()
        self.qps: WeakSet[Any] = WeakSet()
        self._events: deque[AsyncKind] = deque()
        self._adapter = self._devices.open(name)
        self.cmd_fd = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)

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
        os.close(self.cmd_fd)

    @property
    def num_comp_vectors(self) -> int:
        return 1

    def raise_event(self, kind: AsyncKind) -> None:
        """Have `get_async_event` give an event of `kind`."""
        self._events.append(kind)
        os.eventfd_write(self.cmd_fd, 1)

    def get_async_event(self) -> AsyncEvent:
        """The next event; waits for it (`cmd_fd` is readable while there is one)."""
        os.eventfd_read(self.cmd_fd)
        return AsyncEvent(e.ibv_event_type(self._events.popleft()))

    def query_device(self) -> DeviceAttr:
        return DeviceAttr(guid_of(self.name))

    def query_device_ex(self, ex_input: QueryDeviceExInput | None = None) -> DeviceAttrEx:
        return DeviceAttrEx(self.query_device())

    def query_rt_values_ex(self, comp_mask: int = e.IBV_VALUES_MASK_RAW_CLOCK) -> tuple[int, int]:
        """(seconds, nanoseconds) of the device's clock, which is the machine's monotonic one."""
        if comp_mask != e.IBV_VALUES_MASK_RAW_CLOCK:
            raise PyverbsRDMAError("Failed to query real time values", errno.EINVAL)
        return divmod(time.monotonic_ns(), 1_000_000_000)

    def query_port(self, port_num: int) -> PortAttr:
        """Attributes of port 1; EINVAL for another."""
        self._check_port(port_num, "Failed to query port")
        addresses = self.adapter.addresses
        return PortAttr(min(map(active_mtu, addresses)), len(addresses))

    def query_gid(self, port_num: int, index: int) -> GID:
        """GID `index` of the port: the device's own address."""
        gid = GID()
        gid.raw = self._gid(port_num, index)
        return gid

    def query_gid_type(self, port_num: int, index: int) -> int:
        self._gid(port_num, index)
        return int(e.IBV_GID_TYPE_SYSFS_ROCE_V2)

    def query_gid_table(self, max_entries: int, flags: int = 0) -> list[GIDEntry]:
        """Every GID; -EINVAL where there are more than `max_entries`."""
        count = len(self.adapter.addresses)
        if flags or max_entries < count:
            what = f"Failed to query gid tables of the device: it has {count} entries"
            raise PyverbsRDMAError(what, -errno.EINVAL)
        return [self.query_gid_ex(1, index) for index in range(count)]

    def query_gid_ex(self, port_num: int, gid_index: int, flags: int = 0) -> GIDEntry:
        """One GID; ENODATA where the index has none."""
        what = f"Failed to query gid table of port {port_num} in index {gid_index}"
        self._check_port(port_num, f"{what}, port")
        if not 0 <= gid_index < len(self.adapter.addresses):
            raise PyverbsRDMAError(what, errno.ENODATA)
        gid = self._gid(port_num, gid_index)
        return GIDEntry(
            int.from_bytes(gid[:8], "little"),
            int.from_bytes(gid[8:], "little"),
            gid_index,
            port_num,
            e.IBV_GID_TYPE_ROCE_V2,
            index_of(self.adapter.addresses[gid_index]),
        )

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


class FdArr(PyverbsCM):
    """Descriptors, the first `count` of `arr`.

    Support: full.
    """

    def __init__(self, arr: Sequence[int] = (), count: int = 0) -> None:
        self.arr = list(arr[:count])
        self.count = count

    def __str__(self) -> str:
        return table(("Number of fd in arr", self.count), ("FDs in arr", self.arr), width=20)


class DM(PyverbsCM):
    """Memory on the device: there is none.

    Support: no. A device here is a socket.
    """

    def __init__(self, context: Context, dm_attr: AllocDmAttr | None = None, **kwargs: Any) -> None:
        if kwargs.get("handle") is not None:
            unsupported("Importing device memory")
        raise PyverbsUserError("Device doesn't support dm allocation")

    def unimport(self) -> None:
        unsupported("Device memory")

    def copy_to_dm(self, dm_offset: int, data: bytes, length: int) -> None:
        unsupported("Device memory")

    def copy_from_dm(self, dm_offset: int, length: int) -> bytes:
        unsupported("Device memory")

    @property
    def handle(self) -> int:
        unsupported("Device memory")


def get_device_list(devices: Devices | None = None) -> list[Device]:
    """The devices of `devices`, or of the environment (ROCELAB_DEVICES)."""
    names = (devices or Context.devices or Devices.from_environment()).names
    return [
        Device(name.encode(), guid_of(name), e.IBV_NODE_CA, e.IBV_TRANSPORT_IB, index)
        for index, name in enumerate(names)
    ]


def rdma_get_devices() -> list[Device]:
    """As `get_device_list`: rdma_cm has no devices of its own here."""
    return get_device_list()
