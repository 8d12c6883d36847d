"""Every exception we raise, as one tree.

    OneturnError
    ├── ConfigError (also ValueError)        a setting, name or allow-list is wrong; nothing was started
    │   └── ToolDefinitionError              a tool cannot be offered as it is defined
    ├── SourceError                          a source of tools cannot be started or has gone; retry is safe
    │   └── EffectUnknown                    it went away during a call; look before you retry
    ├── ToolError                            a tool says why it failed; raise it in your own tools
    ├── ValueRefused (also ValueError)       a value may not cross the boundary; nothing was sent
    ├── SandboxError
    │   ├── SandboxBusy                      every place is taken; nothing ran, a retry later is safe
    │   ├── SandboxUnavailable               this machine cannot give the isolation asked for; nothing ran
    │   ├── SessionLost                      the variables of a session are gone; start a new session
    │   └── SandboxClosed                    this run is over; start a new one
    ├── JournalError                         the journal could not be written or read; nothing was sent
    │   ├── RunBusy                          another process has the run; it goes on there
    │   ├── RunNotFound (also LookupError)   no such run, or it belongs to another caller
    │   └── JournalCorrupt                   what is recorded was changed; nothing of it is used
    ├── DecisionRefused                      a word on an approval was not taken; it stands as it was
    ├── Diverged                             a run that was resumed did not do what it did before
    └── ArtifactNotFound (also LookupError)  no such artifact, or it belongs to another caller

What goes wrong inside a *script* is not an exception: it is `Outcome.error`. Each class says what
happened, what survives, and whether a retry is safe.
"""

from __future__ import annotations


class OneturnError(Exception):
    """Base of everything oneturn raises on purpose."""


class ConfigError(OneturnError, ValueError):
    """A setting is wrong. Nothing was started; mend the setting the message names."""


class ToolDefinitionError(ConfigError):
    """A tool cannot be offered: its name collides or is reserved, or its schema is unusable."""


class SourceError(OneturnError):
    """A source of tools could not be started, or went away. Other sources go on; a retry is safe."""


class EffectUnknown(SourceError):
    """The connection broke after a call was sent. It may have taken effect: look before a retry."""


class ToolError(OneturnError):
    """A tool's own account of why it failed. Its text reaches the script, redacted and capped."""


class ValueRefused(OneturnError, ValueError):
    """A value is not plain data, or is too deep, too large or cyclic. Nothing was copied or sent."""


class SandboxError(OneturnError):
    """The sandbox machinery failed. One run is lost at most; the next one works."""


class SandboxBusy(SandboxError):
    """Every place for a run is taken and the queue is full. Nothing ran; retry later."""


class SandboxUnavailable(SandboxError):
    """This machine cannot give the isolation asked for. Nothing ran, and nothing weaker was used instead."""


class SessionLost(SandboxError):
    """A session was discarded, with the reason; its variables are gone. Nothing ran: start a new session."""


class SandboxClosed(SandboxError):
    """This sandbox run has ended and takes no more answers. Start a new run."""


class JournalError(OneturnError):
    """The journal could not be written or read. What was not recorded was not sent."""


class RunBusy(JournalError):
    """Another process has this run, and it goes on there. Nothing was sent; look at its outcome later."""


class RunNotFound(JournalError, LookupError):
    """No such run for this caller: it never was, was pruned, or belongs to someone else."""


class JournalCorrupt(JournalError):
    """What is recorded of a run was changed after it was written. Nothing of it is used."""


class DecisionRefused(OneturnError):
    """A decision was not taken: there is no such approval, it is decided or expired, or it is one's own."""


class Diverged(OneturnError):
    """A run that was resumed made another call than the one recorded. It was stopped before the call."""


class ArtifactNotFound(OneturnError, LookupError):
    """No such artifact for this caller: it never was, was evicted, or belongs to someone else."""
