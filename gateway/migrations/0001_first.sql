-- Everything is keyed by domain from the first migration. Migrations only go forward.

CREATE TABLE accounts (
    id       INTEGER PRIMARY KEY,
    domain   TEXT NOT NULL,
    name     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    UNIQUE (domain, name)
);

-- An account has many credentials; a password is never kept.
CREATE TABLE credentials (
    id          INTEGER PRIMARY KEY,
    account     INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    label       TEXT NOT NULL,
    purpose     TEXT NOT NULL,
    iterations  INTEGER NOT NULL,
    salt        BLOB NOT NULL,
    sha1_stored   BLOB NOT NULL,
    sha1_server   BLOB NOT NULL,
    sha256_stored BLOB NOT NULL,
    sha256_server BLOB NOT NULL,
    realm       TEXT NOT NULL,
    ha1_md5     TEXT NOT NULL,
    ha1_sha256  TEXT NOT NULL,
    UNIQUE (account, label)
);

CREATE TABLE roster_items (
    owner    INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    contact  TEXT NOT NULL,
    name     TEXT,
    groups   TEXT NOT NULL,
    sub_to   INTEGER NOT NULL,
    sub_from INTEGER NOT NULL,
    ask      INTEGER NOT NULL,
    PRIMARY KEY (owner, contact)
) WITHOUT ROWID;

CREATE TABLE roster_pending (
    owner    INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    contact  TEXT NOT NULL,
    PRIMARY KEY (owner, contact)
) WITHOUT ROWID;

-- A body is stored once; each owner has a row of its own (offline now, the archive later).
CREATE TABLE messages (
    id       INTEGER PRIMARY KEY,
    domain   TEXT NOT NULL,
    stamp    INTEGER NOT NULL,
    stanza   BLOB NOT NULL,
    body     TEXT,
    call     TEXT,
    retracted INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE message_owners (
    owner    INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    peer     TEXT NOT NULL,
    waiting  INTEGER NOT NULL,
    PRIMARY KEY (owner, message)
) WITHOUT ROWID;

CREATE INDEX message_owners_waiting ON message_owners (owner, message) WHERE waiting = 1;

CREATE TABLE bindings (
    account  TEXT NOT NULL,
    id       TEXT NOT NULL,
    binding  TEXT NOT NULL,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;

CREATE TABLE calls (
    id        INTEGER PRIMARY KEY,
    domain    TEXT NOT NULL,
    caller    TEXT NOT NULL,
    callee    TEXT NOT NULL,
    started   INTEGER NOT NULL,
    answered  INTEGER,
    ended     INTEGER NOT NULL,
    result    TEXT NOT NULL,
    legs      TEXT NOT NULL
);

CREATE TABLE settings (
    name   TEXT PRIMARY KEY,
    value  BLOB NOT NULL
) WITHOUT ROWID;
