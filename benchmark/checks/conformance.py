"""Whether a method keeps its track's contract: what `make check` asks before anybody computes for minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmark import registry
from benchmark.errors import BadInput
from benchmark.execution import environments
from benchmark.execution.contract import MethodError
from benchmark.reporting import Finding, Reporter
from benchmark.run.plan import MethodRun
from benchmark.spec.method import Method, RunSettings
from benchmark.store import Store


class Refused(Exception):
    """The method does not keep its contract; the message names the offence and the remedy."""


Asked = tuple[str, Callable[[], str | None]]
"""What is asked, and what asks: it returns what is worth knowing, or raises `Refused`."""


def check(method: Method, store: Store, reporter: Reporter) -> Iterator[Finding]:
    """One finding after the other; an offence ends none of the questions that can still be asked.

    Raises:
        BadInput: nothing can be asked of methods of this track.
    """
    track = method.manifest.track
    known = registry.LOADED if method.manifest.pretrained else registry.CONFORMANCE
    if track not in known:
        raise BadInput(f"methods of the {track} track have no checks: {', '.join(known)} has")
    environment = environments.prepare(method, store.root / "environments", reporter.say)
    run = MethodRun(method, [RunSettings("default", method.manifest.settings)], environment)
    with registry.resolve(known[track])(run, store, reporter) as questions:
        for asked, ask in questions:
            reporter.step(f"{method.name}: {asked}", 0, 0)
            try:
                said = ask()
            except (Refused, MethodError, BadInput) as offence:
                yield Finding(asked, str(offence), refused=True)
            else:
                yield Finding(asked, said or "")
