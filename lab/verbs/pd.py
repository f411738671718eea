"""Protection domains (pyverbs.pd)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from weakref import WeakSet

from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, unsupported
from lab.verbs.device import Context
from lab.verbs.pyverbs_error import PyverbsRDMAError, PyverbsUserError

_handles = count(1)
_ADVICE = {
    e._IBV_ADVISE_MR_ADVICE_PREFETCH,
    e._IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
    e._IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT,
}

Allocator = Callable[..., Any]


class PD(PyverbsCM):
    """Queue pairs reach only memory of their own domain; closing it closes all that
    was made in it.

    Support: partly. Importing a PD by its handle is not supported.
    """

    _open = False

    def __init__(self, creator: Context, **kwargs: Any) -> None:
        if not isinstance(creator, Context):
            raise PyverbsUserError(f"Cannot create PD from {type(creator)}")
        if kwargs.get("handle") is not None:
            unsupported("Importing a PD")
        creator.adapter  # noqa: B018  (a closed Context refuses)
        self.ctx = creator
        self.handle = next(_handles)
        self.parent_domains: WeakSet[Any] = WeakSet()
        self.qps: WeakSet[Any] = WeakSet()
        self.ahs: WeakSet[Any] = WeakSet()
        self.mws: WeakSet[Any] = WeakSet()
        self.mrs: WeakSet[Any] = WeakSet()
        self.srqs: WeakSet[Any] = WeakSet()
        self._open = True
        creator.pds.add(self)

    @property
    def pd(self) -> int:
        """Its handle: there is no C object to point at."""
        return self.handle

    def advise_mr(self, advise: int, flags: int, sg_list: Sequence[Any]) -> int:
        """Advice to fetch pages ahead: nothing is to be done, 0.

        EINVAL for other advice or flags, EFAULT where an SGE leaves its region, EPERM for one of
        another domain (ibv_advise_mr).
        """
        what = "Failed to advise MR"
        if advise not in _ADVICE or flags & ~e._IBV_ADVISE_MR_FLAG_FLUSH:
            raise PyverbsRDMAError(f"{what}: advice {advise}, flags {flags}", errno.EINVAL)
        memory = self.ctx.adapter.device.memory
        for sge in sg_list:
            region = memory.get(sge.lkey)
            start = sge.addr - region.address if region is not None else -1
            if region is None or not 0 <= start <= len(region.view) - sge.length:
                raise PyverbsRDMAError(f"{what}: no such memory", errno.EFAULT)
            if region.domain != self.handle:
                raise PyverbsRDMAError(f"{what}: of another domain", errno.EPERM)
        return 0

    def unimport(self) -> None:
        unsupported("Importing a PD")

    def close(self) -> None:
        if self._open:
            self._open = False
            own = self.parent_domains, self.qps, self.ahs, self.mws, self.mrs, self.srqs
            close_weakrefs(own)


class ParentDomainContext(PyverbsObject):
    """A consumer's allocator of the memory of queues.

    Support: no. Queues here are the interpreter's own objects.
    """

    def __init__(
        self, pd: PD, alloc_func: Allocator, free_func: Allocator, user_data: Any = None
    ) -> None:
        self.pd = pd
        self.p_alloc = alloc_func
        self.p_free = free_func
        self.user_data = user_data


class ParentDomainInitAttr(PyverbsObject):
    """What to make a parent domain of.

    Support: partly. Allocators are not supported.
    """

    def __init__(self, pd: PD, pd_context: ParentDomainContext | None = None) -> None:
        self.pd = pd
        self.pd_context = pd_context
        self.comp_mask = 0


class ParentDomain(PD):
    """A PD that stands for another, whose memory its queue pairs reach.

    Support: partly. With allocators it is refused (EOPNOTSUPP).
    """

    def __init__(self, context: Context, attr: ParentDomainInitAttr) -> None:
        if attr.pd_context is not None:
            unsupported("A parent domain with allocators")
        super().__init__(context)
        self.protection_domain = attr.pd
        self.handle = attr.pd.handle
        self.cqs: WeakSet[Any] = WeakSet()
        attr.pd.parent_domains.add(self)

    def close(self) -> None:
        if self._open:
            close_weakrefs([self.cqs])
            super().close()
