-- Whom somebody does not want to hear from (XEP-0191). The owner is an account, or a domain for its own list.
CREATE TABLE blocklists (
    owner    TEXT NOT NULL,
    blocked  TEXT NOT NULL,
    PRIMARY KEY (owner, blocked)
) WITHOUT ROWID;

-- Complaints (XEP-0377). They outlive the account that made them and the messages they are about.
CREATE TABLE reports (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    domain     TEXT NOT NULL,
    reporter   TEXT NOT NULL,
    reported   TEXT NOT NULL,
    reason     TEXT NOT NULL,
    text       TEXT,
    to_origin  INTEGER NOT NULL,
    to_others  INTEGER NOT NULL
);

CREATE INDEX reports_reporter ON reports (reporter);

CREATE TABLE report_evidence (
    report     INTEGER NOT NULL REFERENCES reports (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    given_by   TEXT NOT NULL,
    stanza_id  TEXT NOT NULL,
    stanza     BLOB,
    PRIMARY KEY (report, number)
) WITHOUT ROWID;

-- Invitations (XEP-0401): the hash of the token, what it is good for, and until when (milliseconds).
CREATE TABLE invites (
    token      BLOB PRIMARY KEY,
    domain     TEXT NOT NULL,
    inviter    TEXT,
    name       TEXT,
    registers  INTEGER NOT NULL,
    joins      INTEGER NOT NULL,
    expires    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX invites_name ON invites (domain, name) WHERE name IS NOT NULL;
CREATE INDEX invites_inviter ON invites (inviter);

-- An account that may not log in.
ALTER TABLE accounts ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;

-- Roster versions (RFC 6121 section 2.6): when an item last changed, and which were removed. Both count on from the
-- account's birth in milliseconds, so that an account made anew never repeats a version.
ALTER TABLE roster_items ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE roster_removed (
    owner    INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    version  INTEGER NOT NULL,
    contact  TEXT NOT NULL,
    PRIMARY KEY (owner, version)
) WITHOUT ROWID;
