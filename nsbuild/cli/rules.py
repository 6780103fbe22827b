"""What the options about determinism mean, whichever verb has them: texts in, a plan out."""

from __future__ import annotations

from nsbuild.cli import values
from nsbuild.cli.settings import Settings
from nsbuild.container import cpumodel
from nsbuild.container.environment import base_environment
from nsbuild.container.spec import Identity, SchedulingSpec
from nsbuild.determinism.clock import NSEC_PER_SEC, Rates
from nsbuild.supervisor.rules import Rules

CLOCKS = ("causal", "global")
POLICIES = ("fifo", "other", "auto")


class Options:
    """The values of the options, each checked when it is asked for; raises NsbuildError."""

    def __init__(self, settings: Settings, target: str, label: str | None = None) -> None:
        """`label` is the epoch that the image of `target` asks for, where nobody else does."""
        self._settings = settings
        self.state = values.open_state(settings["state"].value)
        value, origin = settings["epoch"]
        if value is None and label is not None:
            value, origin = label, "the image's label"
        self.epoch = values.choose_epoch(origin, value, target, self.state)
        self.identity = self._identity()
        self.cpu_model = values.choice(*self._of("cpu-model"), cpumodel.MODELS)

    def _of(self, name: str) -> tuple[str, str]:
        setting = self._settings[name]
        return setting.origin, setting.value or ""

    def _identity(self) -> Identity:
        name = r"[\x21-\x7e]{1,64}"
        check = values.pattern
        return Identity(
            hostname=check(*self._of("hostname"), r"[A-Za-z0-9._-]{1,64}", "a host name"),
            domainname=check(*self._of("domainname"), name, "a domain name"),
            machine_id=check(*self._of("machine-id"), "[0-9a-f]{32}", "32 hex digits"),
            release=check(*self._of("uname-release"), name, "a kernel release"),
            version=check(*self._of("uname-version"), r"[\x20-\x7e]{1,64}", "a version"),
        )

    def rules(self) -> Rules:
        """What the answers depend on."""
        identity, state = self.identity, self.state
        rates = Rates(
            self.epoch * NSEC_PER_SEC,
            values.duration(*self._of("step")),
            values.duration(*self._of("monotonic-step")),
        )
        seed, origin = self._settings["seed"]
        return Rules(
            rates,
            values.choose_seed(origin, seed, state),
            values.choice(*self._of("clock"), CLOCKS) == "global",
            (identity.release, identity.version, identity.machine),
            None if state is None else state.earlier(rates.step),
        )

    def environment(self, term: str | None = None) -> dict[str, str]:
        """What a command starts with; `term` is its terminal's type."""
        return {**base_environment(self.epoch, term), **cpumodel.variables(self.cpu_model)}

    def scheduling(self) -> SchedulingSpec:
        """Where and how the command runs."""
        return SchedulingSpec(
            values.cpu(*self._of("cpu")),
            values.choice(*self._of("sched"), POLICIES),
            values.duration(*self._of("spin-bound")) / NSEC_PER_SEC,
        )

    def profile(self) -> str:
        """The seccomp profile's name or file."""
        return self._of("profile")[1]
