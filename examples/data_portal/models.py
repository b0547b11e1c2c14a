"""What the portal takes and answers."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", min_length=2, max_length=60)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Role = Literal["reader", "editor", "admin"]

_T = TypeVar("_T")


class Page(BaseModel, Generic[_T]):
    """A part of a list; `total` counts all of it."""

    total: int
    limit: int
    offset: int
    items: list[_T]


class User(BaseModel):
    """A user as everybody may see one."""

    id: int
    username: str
    role: Role
    organization_id: str | None


class SignIn(BaseModel):
    """Name and password."""

    username: str
    password: str


class NewToken(BaseModel):
    """What a token shall be called."""

    name: Name


class Token(BaseModel):
    """A token, without its secret."""

    id: int
    name: str
    created_at: str


class IssuedToken(Token):
    """A token with its secret, which is shown this once."""

    secret: str


class Organization(BaseModel):
    """Who publishes datasets."""

    id: Name
    title: Title


class Dataset(BaseModel):
    """Files that belong together."""

    id: str
    organization_id: str
    title: str
    private: bool
    version: int
    updated_at: str


class NewDataset(BaseModel):
    """A dataset to be."""

    id: Name
    organization_id: Name
    title: Title
    private: bool = False


class DatasetChange(BaseModel):
    """What shall be different."""

    title: Title
    private: bool | None = None


class File(BaseModel):
    """A file of a dataset."""

    id: str
    dataset_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    downloads: int


class Preview(BaseModel):
    """The beginning of a table."""

    columns: list[str]
    rows: list[list[str]]


class Activity(BaseModel):
    """Something that happened."""

    at: str
    username: str
    what: str
    dataset_id: str
