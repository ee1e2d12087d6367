"""A camera's definition: in the compacted `cameras` topic and in `[[cameras]]` tables."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import InvalidMessage, InvalidSettings

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


class Camera(BaseModel):
    """One camera. Holds the *name* of a secret at most, never a user or password.

    `source` is a path, an address (`rtsp://`, `http://`), a device (`0`, `/dev/video0`) or a drawn
    scene (`synthetic://street?seed=7`). In an address, `{secret}` stands for the text that
    `secret` names in the secrets folder, usually `user:password`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    source: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    fps: float = Field(15.0, gt=0, le=120, description="frames sampled a second")
    lanes: tuple[Name, ...] = Field((), description="lanes that watch it; empty: all")
    secret: Name | None = Field(None, description="name of a file in the secrets folder")
    loop: bool = Field(False, description="begin a file again at its end, as a live camera")
    start_seconds: float = Field(
        0, ge=0, le=4e9, description="of a recording: its first picture, since the Unix epoch"
    )

    def to_json(self) -> bytes:
        """The value of a record in the cameras topic."""
        return self.model_dump_json(exclude_defaults=True).encode()

    @classmethod
    def from_json(cls, value: bytes) -> Camera:
        """Raises InvalidMessage."""
        try:
            return cls.model_validate_json(value)
        except ValidationError as error:
            raise InvalidMessage(f"not a camera: {_first(error)}") from None

    @classmethod
    def from_table(cls, table: Any) -> Camera:
        """From a `[[cameras]]` table; raises InvalidSettings."""
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise InvalidSettings(f"[[cameras]] {_first(error)}") from None


def _first(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'table'}: {problem['msg']}"
