-- A room with what does not change with every visit; people apart, since one of them changes at a time.
CREATE TABLE rooms (
    id       INTEGER PRIMARY KEY,
    domain   TEXT NOT NULL,
    name     TEXT NOT NULL,
    title    TEXT NOT NULL,
    public   INTEGER NOT NULL,
    state    TEXT NOT NULL,
    vcard    TEXT,
    UNIQUE (domain, name)
);

-- The person is an address, not an account: it may be of another server, or a whole domain that is banned.
CREATE TABLE room_people (
    room        INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    person      TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    state       TEXT NOT NULL,
    PRIMARY KEY (room, person)
) WITHOUT ROWID;

CREATE INDEX room_people_owners ON room_people (person) WHERE affiliation = 'owner';
