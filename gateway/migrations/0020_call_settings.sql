-- What accounts want done with calls to them. An account without a row is rung, by as many calls as come.
CREATE TABLE call_settings (
    account      TEXT PRIMARY KEY,
    domain       TEXT NOT NULL,
    -- Nobody is to ring it.
    undisturbed  INTEGER NOT NULL,
    -- Who is called instead: at once, where it is busy, where nobody answers for so many seconds.
    always       TEXT,
    busy         TEXT,
    no_answer    TEXT,
    seconds      INTEGER NOT NULL,
    -- While it is in a call it is busy for others.
    one_call     INTEGER NOT NULL
) WITHOUT ROWID;
