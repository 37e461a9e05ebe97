-- The archive (XEP-0313). A body is stored once, at its place in time (microseconds of arrival, never given twice); each
-- archive that has it holds a row of a few bytes. Owners are addresses, not accounts: rooms have archives too.
CREATE TABLE addresses (
    id   INTEGER PRIMARY KEY,
    jid  TEXT NOT NULL UNIQUE
);

CREATE TABLE bodies (
    seq     INTEGER PRIMARY KEY,
    stanza  BLOB NOT NULL,
    -- 128 bits of a hash over sender, addressee and origin id: a second sending is recognised by it.
    once    BLOB
);

CREATE UNIQUE INDEX bodies_once ON bodies (once) WHERE once IS NOT NULL;

-- name: 32 bits of a hash over the id by which corrections and retractions call the message.
CREATE TABLE archive (
    owner     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    peer      INTEGER NOT NULL,
    resource  TEXT,
    name      INTEGER,
    groupchat INTEGER NOT NULL,
    PRIMARY KEY (owner, seq)
) WITHOUT ROWID;

CREATE INDEX archive_peer ON archive (owner, peer, seq, name);

-- What an account has not got yet (XEP-0160). A message that is not in its archive has a body of its own.
CREATE TABLE waiting (
    owner     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    archived  INTEGER NOT NULL,
    PRIMARY KEY (owner, seq)
) WITHOUT ROWID;

-- An account's wishes (XEP-0441); addresses one a line.
CREATE TABLE archive_prefs (
    owner   INTEGER PRIMARY KEY,
    habit   TEXT NOT NULL,
    always  TEXT NOT NULL,
    never   TEXT NOT NULL
);

-- What waited before there was an archive waits on. Its times are of milliseconds; those that share one get places
-- one after another.
INSERT INTO addresses (jid)
SELECT DISTINCT name || '@' || domain FROM accounts WHERE id IN (SELECT owner FROM message_owners WHERE waiting = 1);

CREATE TEMPORARY TABLE moved AS
SELECT m.id AS id, m.stamp * 1000 + row_number() OVER (PARTITION BY m.stamp ORDER BY m.id) - 1 AS seq FROM messages m;

INSERT INTO bodies (seq, stanza)
SELECT moved.seq, m.stanza FROM messages m JOIN moved ON moved.id = m.id
WHERE m.id IN (SELECT message FROM message_owners WHERE waiting = 1);

INSERT INTO waiting (owner, seq, archived)
SELECT addresses.id, moved.seq, 0 FROM message_owners o
JOIN moved ON moved.id = o.message
JOIN accounts ON accounts.id = o.owner
JOIN addresses ON addresses.jid = accounts.name || '@' || accounts.domain
WHERE o.waiting = 1;

DROP TABLE moved;
DROP TABLE message_owners;
DROP TABLE messages;
