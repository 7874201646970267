"""`letta server` with the database prepared first: `serve.py PORT`, settings in the environment.

One process does both because importing Letta takes most of its start.
"""

import sys


def main(port: str) -> None:
    from letta.settings import settings

    if settings.letta_pg_uri_no_default:
        prepare_postgres(settings.letta_pg_uri)
    else:
        correct_sqlite_default()

    from letta.main import app

    app(["server", "--host", "127.0.0.1", "--port", port])


def prepare_postgres(uri: str) -> None:
    """The wheel comes without Letta's migrations: make the same tables from its models."""
    import letta.orm  # noqa: F401  Registers every table.
    from letta.orm.base import Base
    from sqlalchemy import create_engine, make_url, text

    # Of the drivers that Letta brings, the one that understands `sslmode`.
    engine = create_engine(make_url(uri).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        Base.metadata.create_all(connection)
        # The models only say that the server numbers the messages; the migrations make it so.
        connection.execute(text("CREATE SEQUENCE IF NOT EXISTS message_seq_id"))
        connection.execute(
            text(
                "ALTER TABLE messages ALTER COLUMN sequence_id"
                " SET DEFAULT nextval('message_seq_id')"
            )
        )
    engine.dispose()


def correct_sqlite_default() -> None:
    """0.11.7 gives one column the *text* 'now()' as its default, which SQLite hands back and
    Letta then can't read as a date: the first memory is refused. All its other columns have
    the function, so has this one then."""
    from letta.orm.archives_agents import ArchivesAgents
    from sqlalchemy import DefaultClause, func

    ArchivesAgents.__table__.c.created_at.server_default = DefaultClause(func.now())


if __name__ == "__main__":
    main(sys.argv[1])
