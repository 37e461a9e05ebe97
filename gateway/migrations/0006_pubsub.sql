-- What accounts publish: profiles, bookmarks, private data (XEP-0163, XEP-0223).
CREATE TABLE pubsub_nodes (
    id       INTEGER PRIMARY KEY,
    owner    INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    config   TEXT NOT NULL,
    affiliations  TEXT NOT NULL,
    subscriptions TEXT NOT NULL,
    UNIQUE (owner, name)
);

-- The order of publication is that of the ids: an item that is published again moves to the end.
CREATE TABLE pubsub_items (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    node      INTEGER NOT NULL REFERENCES pubsub_nodes (id) ON DELETE CASCADE,
    item      TEXT NOT NULL,
    publisher TEXT NOT NULL,
    stamp     TEXT NOT NULL,
    created   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    payload   BLOB NOT NULL,
    UNIQUE (node, item)
);

CREATE INDEX pubsub_items_order ON pubsub_items (node, id, created, bytes);
