-- Files of users (XEP-0363): a row is made with the slot; `stored` says when the bytes were on disk.
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    owner      INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    type       TEXT NOT NULL,
    size       INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    stored     INTEGER,
    thumbnail  TEXT
) WITHOUT ROWID;

CREATE INDEX uploads_owner ON uploads (owner, created);
CREATE INDEX uploads_created ON uploads (created);

-- App servers that want to be told of what an absent user misses (XEP-0357).
CREATE TABLE pushes (
    owner     INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    service   TEXT NOT NULL,
    node      TEXT NOT NULL,
    options   BLOB,
    resource  TEXT,
    PRIMARY KEY (owner, service, node)
) WITHOUT ROWID;
