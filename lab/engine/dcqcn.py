"""The reaction point: DCQCN, a rate that CNPs cut and time and bytes raise again (Zhu et al.,
"Congestion Control for Large-Scale RDMA Deployments", SIGCOMM 2015, section 3.1).

Rates are integers of bits per second, times of nanoseconds; bytes are those of UDP payload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lab.engine.notification import CNP_INTERVAL_NS

SECOND = 1_000_000_000
ALPHA_ONE = 1 << 30
"""Alpha, the estimate of how congested the path is, in fixed point."""
PAPERS_RATE = 40_000_000_000
BURST_BYTES = 16_384
"""Sent at once, however low the rate: so that a clock of tens of microseconds will do."""

Tell = Callable[[int, str, dict[str, int | str]], None]
"""Takes the time (ns), the event `rate`, and its figures."""


@dataclass(frozen=True, slots=True)
class Dcqcn:
    """The parameters, by their names in the paper, with the paper's values (its table 14).

    The paper leaves hyper increase and the lowest rate to QCN: both are here as network cards have
    them (mlx5: rpg_hai_rate is ten times rpg_ai_rate, rpg_min_rate 1 Mbit/s).
    """

    line_rate: int
    """The link's; a flow starts with it."""
    g_shift: int = 8
    """g = 2^-g_shift: what one CNP, or `k_ns` without, weighs in alpha."""
    n_ns: int = CNP_INTERVAL_NS
    """Between two CNPs of a queue pair; shorter than K and T."""
    k_ns: int = 55_000
    t_ns: int = 55_000
    """T: the rate is raised this often, and each time `b_bytes` were sent."""
    b_bytes: int = 10_000_000
    f: int = 5
    """Raises towards the rate before the cut, until the target is raised as well."""
    r_ai: int = 40_000_000
    r_hai: int = 400_000_000
    r_min: int = 1_000_000

    @classmethod
    def scaled(cls, line_rate: int) -> Dcqcn:
        """The same course on a link of another rate: times in proportion to what the paper's link
        of 40 Gbit/s takes for as many bytes, steps in proportion to the rate.
        """

        def longer(time_ns: int) -> int:
            return time_ns * PAPERS_RATE // line_rate

        own = cls(line_rate)
        return replace(
            own,
            n_ns=longer(own.n_ns),
            k_ns=longer(own.k_ns),
            t_ns=longer(own.t_ns),
            r_ai=own.r_ai * line_rate // PAPERS_RATE,
            r_hai=own.r_hai * line_rate // PAPERS_RATE,
        )


class Limiter:
    """A queue pair's rate. Time passes when it is asked: nothing wakes it but what waits for it."""

    def __init__(self, parameters: Dcqcn, tell: Tell) -> None:
        self.parameters = parameters
        self._tell = tell
        self.rate = self.target = parameters.line_rate
        self.alpha = ALPHA_ONE
        self.limiting = False
        """From a CNP until the rate is the line's again."""
        self.due: int | None = None
        """When (ns) what was held back may go out; None while nothing is held back."""
        self._free_at = 0
        self._alpha_due: int | None = None
        self._raise_due = 0
        self._bytes = self._time_stage = self._byte_stage = 0

    def cut(self, now: int) -> None:
        """A CNP has come (equation 1)."""
        self._pass(now)
        own, before = self.parameters, self.rate
        self.target = before
        self._change(now, max(own.r_min, before - (before * self.alpha >> 31)))
        self.alpha += (ALPHA_ONE - self.alpha) >> own.g_shift
        self.limiting = True
        self._alpha_due, self._raise_due = now + own.k_ns, now + own.t_ns
        self._bytes = self._time_stage = self._byte_stage = 0
        self._say(now, before, "CNP")

    def allows(self, now: int) -> bool:
        """Whether something may go out; where not, `due` says when."""
        self.due = None
        if self.limiting:
            self._pass(now)
        if now < self._free_at:
            # When the rate is raised, what is held back goes out sooner.
            self.due = min(self._free_at, self._raise_due) if self.limiting else self._free_at
        return self.due is None

    def sent(self, count: int, now: int) -> None:
        """`count` bytes go out."""
        self._free_at = max(self._free_at, now) + count * 8 * SECOND // self.rate
        self._bytes += count
        while self.limiting and self._bytes >= self.parameters.b_bytes:
            self._bytes -= self.parameters.b_bytes
            self._byte_stage += 1
            self._raise(now)

    def _pass(self, now: int) -> None:
        """Catch up with the timers: alpha decays (equation 2), the rate is raised."""
        own = self.parameters
        while self._alpha_due is not None and self._alpha_due <= now and self.alpha:
            self.alpha -= -(-self.alpha >> own.g_shift)
            self._alpha_due += own.k_ns
        while self.limiting and self._raise_due <= now:
            when, self._raise_due = self._raise_due, self._raise_due + own.t_ns
            self._time_stage += 1
            self._raise(when)

    def _raise(self, now: int) -> None:
        """Half the way to the target (equation 3), which moves up once that has been done `f`
        times (equation 4), and faster where both time and bytes have done so.
        """
        own, before = self.parameters, self.rate
        least, most = sorted((self._time_stage, self._byte_stage))
        phase = "fast recovery"
        if least > own.f:
            phase = "hyper increase"
            self.target += (least - own.f) * own.r_hai
        elif most > own.f:
            phase = "additive increase"
            self.target += own.r_ai
        self.target = min(self.target, own.line_rate)
        self._change(now, (self.rate + self.target) // 2)
        # Halves of the way never arrive: a thousandth below the line's rate is that rate.
        if own.line_rate - self.rate <= own.line_rate >> 10:
            self._change(now, own.line_rate)
            self.limiting = False
            phase += ": line rate"
        self._say(now, before, phase)

    def _change(self, now: int, rate: int) -> None:
        """To another rate, at which what went out takes another time."""
        left = max(0, self._free_at - now)
        self._free_at += left * self.rate // rate - left
        self.rate = rate

    def _say(self, now: int, before: int, why: str) -> None:
        self._tell(
            now,
            "rate",
            {
                "why": why,
                "from": before,
                "to": self.rate,
                "target": self.target,
                "alpha_millionths": self.alpha * 1_000_000 >> 30,
            },
        )
