-- What phones that know only single messages do in rooms: whether their owner has left, does not want to be told until
-- when, and the last message that a phone has taken, in milliseconds since 1970.
CREATE TABLE phone_rooms (
    account  TEXT NOT NULL,
    room     TEXT NOT NULL,
    is_left  INTEGER NOT NULL,
    mute     INTEGER NOT NULL,
    heard    INTEGER NOT NULL,
    PRIMARY KEY (account, room)
) WITHOUT ROWID;
