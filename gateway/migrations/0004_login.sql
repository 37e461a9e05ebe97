-- Keys may be missing: those of a hash that came after the password. SHA-512 joins the others.
CREATE TABLE credentials_of_any_hash (
    id          INTEGER PRIMARY KEY,
    account     INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    label       TEXT NOT NULL,
    purpose     TEXT NOT NULL,
    iterations  INTEGER NOT NULL,
    salt        BLOB NOT NULL,
    sha1_stored   BLOB,
    sha1_server   BLOB,
    sha256_stored BLOB,
    sha256_server BLOB,
    sha512_stored BLOB,
    sha512_server BLOB,
    realm       TEXT NOT NULL,
    ha1_md5     TEXT NOT NULL,
    ha1_sha256  TEXT NOT NULL,
    UNIQUE (account, label)
);

INSERT INTO credentials_of_any_hash
    SELECT id, account, label, purpose, iterations, salt, sha1_stored, sha1_server, sha256_stored, sha256_server,
           NULL, NULL, realm, ha1_md5, ha1_sha256
    FROM credentials;

DROP TABLE credentials;
ALTER TABLE credentials_of_any_hash RENAME TO credentials;

CREATE INDEX credentials_without_sha512 ON credentials (account) WHERE sha512_stored IS NULL;

-- Tokens that devices log in with (XEP-0484): what they are checked with, never the token. Times are milliseconds.
CREATE TABLE login_tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account    INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    device     TEXT NOT NULL,
    mechanism  TEXT NOT NULL,
    key        BLOB NOT NULL,
    issued     INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    used       INTEGER NOT NULL DEFAULT 0,
    count      INTEGER
);

CREATE INDEX login_tokens_device ON login_tokens (account, device);
CREATE INDEX login_tokens_expires ON login_tokens (expires);
