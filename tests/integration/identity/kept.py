"""Whether a credential of these tests' own lies anywhere in a site's folder."""

from tests.integration.site import Site


def check_not_kept(site: Site, *credentials: str) -> None:
    """No credential lies in the store, the journal or the log; the application's own database is not ours."""
    kept = [path.read_bytes() for path in site.directory.rglob("*") if path.is_file() and path.suffix != ".py"]
    ours = [data for data in kept if not data.startswith(b"SQLite format 3")]
    for credential in credentials:
        assert not any(credential.encode() in data for data in ours), "a raw credential is kept"
