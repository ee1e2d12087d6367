"""How a client reaches Kafka, and what Kafka's errors mean to the rest of the system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors

from shared.errors import Fatal, InvalidSettings, OperatorError, Transient
from shared.settings import KafkaSettings

REFUSED = (
    errors.AuthorizationError,
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.SecurityDisabledError,
)


class _Secret(str):
    """A text that no log shows: kafka-python writes whole configurations to its debug log."""

    def __repr__(self) -> str:
        return "'**********'"


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """What kafka-python's consumer, producer and admin client have in common."""
    options: dict[str, Any] = {
        "bootstrap_servers": [s.strip() for s in settings.bootstrap_servers.split(",")],
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": 10_000,  # a broker that hangs is given up after it
        "reconnect_backoff_max_ms": 1_000,  # the default of 30 s would outlast a broker's restart
    }
    if settings.ssl_cafile is not None:
        options["ssl_cafile"] = str(settings.ssl_cafile)
    if settings.security_protocol.startswith("SASL"):
        if settings.username is None or settings.password is None:
            raise InvalidSettings(
                f"kafka.security_protocol={settings.security_protocol} needs kafka.username and "
                "kafka.password (CITYWATCH_KAFKA_PASSWORD)"
            )
        options |= {
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.username,
            "sasl_plain_password": _Secret(settings.password.get_secret_value()),
        }
    return options


@contextmanager
def connecting(settings: KafkaSettings) -> Iterator[None]:
    """A first connection's errors: Transient with what to do, OperatorError if refused."""
    try:
        yield
    except REFUSED as error:
        raise refused("the connection", error) from None
    except errors.KafkaConfigurationError as error:
        raise InvalidSettings(f"[kafka]: {error}") from None
    except (errors.KafkaError, OSError) as error:
        login = " and the login" if settings.security_protocol.startswith("SASL") else ""
        raise Transient(
            f"no answer from {settings.bootstrap_servers} ({type(error).__name__}); check that "
            f"Kafka runs there{login}, or name another with CITYWATCH_KAFKA_BOOTSTRAP_SERVERS or "
            "--set kafka.bootstrap_servers=host:port"
        ) from None


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Kafka's errors while running, as the errors that the worker acts on."""
    try:
        yield
    except errors.KafkaError as error:
        raise meaning(doing, error) from error


def meaning(doing: str, error: Exception) -> Exception:
    """What one of Kafka's errors means: come back later, ask the operator, or stop."""
    if isinstance(error, errors.FencedInstanceIdError):
        return Fatal(
            f"another process has the same kafka.instance and took this one's place ({doing}); "
            "each process of a service needs its own"
        )
    if isinstance(error, REFUSED):
        return refused(doing, error)
    if isinstance(error, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)):
        return Fatal(f"Kafka refuses the size of a record ({doing}): {error}")
    if isinstance(error, errors.KafkaStorageError):
        return Transient(
            f"Kafka cannot write: a broker's disk is full or broken ({doing}); all waits"
        )
    return Transient(f"Kafka: {doing}: {error}")


def refused(what: str, error: Exception) -> OperatorError:
    """Access denied: only an operator can change that."""
    return OperatorError(
        f"Kafka refuses {what}: {type(error).__name__}; check user, password and access rights"
    )
